"""Builds the answers from jobs, uploads and what lies on disk."""

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import PurePath
from urllib.parse import quote

from studio.jobs.job import Job, State
from studio.storage.files import Storage, Upload
from studio.web import results, schemas

JOBS_PER_PAGE = 20


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def uploaded(upload: Upload) -> schemas.Uploaded:
    return schemas.Uploaded(
        file_id=upload.file_id,
        filename=upload.filename,
        bytes=upload.size_bytes,
        duration_s=upload.sound.duration_s if upload.sound else None,
        sample_rate_hz=upload.sound.sample_rate_hz if upload.sound else None,
        channels=upload.sound.channels if upload.sound else None,
        note=upload.sound.note if upload.sound else None,
    )


def job(job: Job) -> schemas.Job:
    return schemas.Job(
        job_id=job.job_id,
        file_id=job.request.file_id,
        model=job.request.model,
        variant=job.request.variant,
        options=job.request.options,
        status=job.state.value,
        stage=job.stage,
        progress=round(job.progress, 4),
        place=job.place,
        eta_s=None if job.eta_s is None else round(job.eta_s, 1),
        error=schemas.JobError(**job.error) if job.error else None,
        tracks=results.names(job),
        result=job.result,
        created_at=_time(job.created_at) or "",
        started_at=_time(job.started_at),
        finished_at=_time(job.finished_at),
    )


def status(upload: Upload, jobs: list[Job], before: str | None = None) -> schemas.Status:
    """The latest job, and a page of `jobs` (latest first): those before the id `before`.

    `tracks` are those of all completed jobs.
    """
    ids = [one.job_id for one in jobs]
    begin = 0 if before is None else ids.index(before) + 1
    shown = [job(one) for one in jobs[begin : begin + JOBS_PER_PAGE]]
    latest = job(jobs[0]) if jobs else None
    names = dict.fromkeys(name for one in jobs for name in results.names(one))
    has_more = begin + JOBS_PER_PAGE < len(jobs)
    return schemas.Status(
        file_id=upload.file_id,
        filename=upload.filename,
        job_id=latest.job_id if latest else None,
        model=latest.model if latest else None,
        variant=latest.variant if latest else None,
        status=latest.status if latest else "uploaded",
        stage=latest.stage if latest else None,
        progress=latest.progress if latest else 0.0,
        place=latest.place if latest else None,
        eta_s=latest.eta_s if latest else None,
        error=latest.error if latest else None,
        tracks=list(names),
        jobs=shown,
        jobs_total=len(jobs),
        next=f"/status/{upload.file_id}?before={shown[-1].job_id}" if has_more else None,
    )


def files(upload: Upload, jobs: list[Job], storage: Storage) -> schemas.Files:
    """What can be downloaded; a track comes from the latest completed job that has it."""
    listed: dict[str, schemas.Track] = {}
    archive = f"/download/{upload.file_id}/all.zip"
    for one in jobs:
        if one.state is State.COMPLETED:
            for name in results.names(one):
                if name not in listed:
                    listed[name] = _track(one, name, storage)
    return schemas.Files(
        **uploaded(upload).model_dump(),
        tracks=list(listed.values()),
        archive=archive if listed else None,
    )


def _track(job: Job, name: str, storage: Storage) -> schemas.Track:
    assert job.result is not None
    folder = storage.result(job.request.file_id, job.job_id)
    formats = {}
    for file_format in results.formats(name):
        path = folder / results.file_name(name, file_format)
        url = f"/download/{job.request.file_id}/{quote(name)}?format={file_format}"
        size = path.stat().st_size if path.is_file() else None
        formats[file_format] = schemas.TrackFormat(ready=size is not None, bytes=size, url=url)
    return schemas.Track(
        track=name,
        job_id=job.job_id,
        model=job.request.model,
        variant=job.request.variant,
        duration_s=job.result["duration_s"],
        formats=formats,
    )


def download_name(upload: Upload, track: str, file_type: str) -> str:
    """A file name that keeps the upload's own: "song - vocals.wav"."""
    return f"{PurePath(upload.filename).stem} - {track}.{file_type}"


def disposition(name: str) -> str:
    """The Content-Disposition of a download (RFC 6266; the name as RFC 5987, with a plain one)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # What letters of full width become may be a path.
    plain = re.sub(r'[\x00-\x1f\x7f\\/:*?"<>|%]', "_", plain).strip(" -").lstrip(".") or "track"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
