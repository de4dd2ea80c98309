"""Builds responses from jobs, uploads and files on disk."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import PurePath
from urllib.parse import quote

from studio.jobs.job import Job
from studio.results import Track
from studio.storage.files import Storage, Upload
from studio.web import schemas
from studio.web.services import Processors

JOBS_PER_PAGE = 20


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _time_if_known(seconds: float | None) -> str | None:
    return None if seconds is None else _time(seconds)


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


class JobAnswers:
    """Describes jobs and their tracks."""

    def __init__(self, processors: Processors) -> None:
        self._processors = processors

    def track_names(self, jobs: Iterable[Job]) -> list[str]:
        """The distinct tracks of all jobs."""
        tracks = self._processors.tracks
        return list(dict.fromkeys(track.name for job in jobs for track in tracks(job)))

    def job(self, job: Job) -> schemas.Job:
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
            tracks=self.track_names([job]),
            result=job.result,
            created_at=_time(job.created_at),
            started_at=_time_if_known(job.started_at),
            finished_at=_time_if_known(job.finished_at),
        )

    def status(self, upload: Upload, jobs: list[Job], before: str | None = None) -> schemas.Status:
        """The latest job, and a page of `jobs` (newest first): those before the ID `before`.

        `tracks` are those of all completed jobs.
        """
        ids = [one.job_id for one in jobs]
        begin = 0 if before is None else ids.index(before) + 1
        page = [self.job(one) for one in jobs[begin : begin + JOBS_PER_PAGE]]
        latest = self.job(jobs[0]) if jobs else None
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
            tracks=self.track_names(jobs),
            jobs=page,
            jobs_total=len(jobs),
            next=f"/status/{upload.file_id}?before={page[-1].job_id}" if has_more else None,
        )

    def files(self, upload: Upload, jobs: list[Job], storage: Storage) -> schemas.Files:
        """The available tracks, each from the latest completed job that has it."""
        listed: dict[str, schemas.Track] = {}
        for job in jobs:
            for track in self._processors.tracks(job):
                if track.name not in listed:
                    listed[track.name] = self._track(job, track, storage)
        return schemas.Files(
            **uploaded(upload).model_dump(),
            tracks=list(listed.values()),
            archive=f"/download/{upload.file_id}/all.zip" if listed else None,
            stems=self._stems(self.joined(jobs), storage),
        )

    def _stems(self, found: tuple[Job, Track] | None, storage: Storage) -> schemas.Stems | None:
        if found is None:
            return None
        job, track = found
        described = self._track(job, track, storage)
        for file_format, about in described.formats.items():
            about.url = f"/download/{job.request.file_id}/{track.name}.{file_format}"
        return schemas.Stems(
            **described.model_dump(exclude={"track"}), channels=list(track.channels)
        )

    def joined(self, jobs: Iterable[Job]) -> tuple[Job, Track] | None:
        """The file that joins all tracks of a job: of the jobs with most tracks, the latest's."""
        found = [(job, track) for job in jobs if (track := self._processors.joined(job))]
        return max(found, key=lambda one: len(one[1].channels), default=None)

    def _track(self, job: Job, track: Track, storage: Storage) -> schemas.Track:
        result = self._processors.result(job)
        assert result is not None
        folder = storage.result(job.request.file_id, job.job_id)
        formats = {}
        for file_format in track.formats:
            path = folder / track.file_name(file_format)
            url = f"/download/{job.request.file_id}/{quote(track.name)}?format={file_format}"
            size = path.stat().st_size if path.is_file() else None
            formats[file_format] = schemas.TrackFormat(ready=size is not None, bytes=size, url=url)
        return schemas.Track(
            track=track.name,
            job_id=job.job_id,
            model=job.request.model,
            variant=job.request.variant,
            duration_s=result.duration_s,
            formats=formats,
        )


def download_name(upload: Upload, track: str, file_type: str) -> str:
    """A file name based on that of the upload: "song - vocals.wav"."""
    return f"{PurePath(upload.filename).stem} - {track}.{file_type}"


def disposition(name: str) -> str:
    """The Content-Disposition of a download (RFC 6266), with an RFC 5987 and a plain file name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # Full-width letters may normalise to a path.
    plain = re.sub(r'[\x00-\x1f\x7f\\/:*?"<>|%]', "_", plain).strip(" -").lstrip(".") or "track"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
