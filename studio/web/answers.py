"""Builds responses from jobs, uploads and files on disk."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from studio.jobs.body import SOURCE_IDENTITIES
from studio.jobs.job import Job
from studio.processors import Processors
from studio.results import PEAKS, Track
from studio.storage.results import FileInfo
from studio.storage.storage import Storage
from studio.storage.uploads import Upload
from studio.web import schemas

# Characters of an option in a status; only lyrics are longer.
MAX_SHOWN_CHARACTERS = 1000
JOBS_PER_PAGE = 20
# The query parameter that chooses the samples per pixel of waveform data.
ZOOM = "samples_per_pixel"


def time_of(seconds: float) -> str:
    """Unix seconds in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _time_if_known(seconds: float | None) -> str | None:
    return None if seconds is None else time_of(seconds)


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
            options=_shown(job.request.options),
            status=job.state.value,
            stage=job.stage,
            progress=round(job.progress, 4),
            place=job.place,
            note=self._processors.note(job),
            eta_s=None if job.eta_s is None else round(job.eta_s, 1),
            error=schemas.JobError(**job.error) if job.error else None,
            tracks=self.track_names([job]),
            result=job.result,
            created_at=time_of(job.created_at),
            started_at=_time_if_known(job.started_at),
            finished_at=_time_if_known(job.finished_at),
        )

    def status(
        self,
        upload: Upload,
        jobs: list[Job],
        before: str | None = None,
        partial: list[dict[str, Any]] | None = None,
    ) -> schemas.Status:
        """The latest job, and a page of `jobs` (newest first): those before the ID `before`.

        `tracks` are those of all completed jobs. `partial` is what the latest one has so far.
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
            partial=partial,
        )

    def files(self, upload: Upload, jobs: list[Job], storage: Storage) -> schemas.Files:
        """The available tracks, each from the latest completed job that has it."""
        listed: dict[str, schemas.Track] = {}
        for job in jobs:
            tracks = [one for one in self._processors.tracks(job) if one.name not in listed]
            infos = storage.result(job.result_id).infos() if tracks else {}
            listed |= {track.name: self._track(job, track, infos) for track in tracks}
        return schemas.Files(
            **uploaded(upload).model_dump(),
            tracks=list(listed.values()),
            archive=f"/download/{upload.file_id}/all.zip" if listed else None,
            stems=self._stems(self.joined(jobs), storage),
        )

    def joined(self, jobs: Iterable[Job], part: str | None = None) -> tuple[Job, Track] | None:
        """The file that joins all tracks of a job: of the jobs with most tracks, the latest's.

        With `part`, only jobs that have this track count.
        """
        joined = [(job, track) for job in jobs if (track := self._processors.joined(job))]
        fitting = [one for one in joined if part is None or part in one[1].channels]
        return max(fitting, key=lambda one: len(one[1].channels), default=None)

    def _stems(self, joined: tuple[Job, Track] | None, storage: Storage) -> schemas.Stems | None:
        if joined is None:
            return None
        job, track = joined
        address = f"/download/{job.request.file_id}/{track.name}"
        infos = storage.result(job.result_id).infos()
        return schemas.Stems(
            job_id=job.job_id,
            model=job.request.model,
            variant=job.request.variant,
            duration_s=track.duration_s or self._duration_s(job),
            channels=list(track.channels),
            formats={
                one: _file(infos.get(track.file_name(one)), f"{address}.{one}")
                for one in track.formats
            },
        )

    def _track(self, job: Job, track: Track, infos: Mapping[str, FileInfo]) -> schemas.Track:
        begin = track.version(infos)
        address = f"/download/{job.request.file_id}/{quote(track.name)}?format="
        return schemas.Track(
            track=track.name,
            job_id=job.job_id,
            model=job.request.model,
            variant=job.request.variant,
            duration_s=track.duration_s or self._duration_s(job),
            edited=begin != "",
            formats={
                one: _file(infos.get(begin + track.file_name(one)), f"{address}{one}")
                for one in track.formats
                if one not in track.zooms.values()
            },
            peaks={
                str(zoom): _file(
                    infos.get(track.file_name(extension)), f"{address}{PEAKS}&{ZOOM}={zoom}"
                )
                for zoom, extension in track.zooms.items()
            },
        )

    def _duration_s(self, job: Job) -> float:
        result = self._processors.result(job)
        assert result is not None
        return result.duration_s


def _shown(options: dict[str, Any]) -> dict[str, Any]:
    """Options for a status, in which long texts are cut."""
    return {
        name: f"{value[:MAX_SHOWN_CHARACTERS]}..." if _is_long(value) else value
        for name, value in options.items()
        if name != SOURCE_IDENTITIES
    }


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > MAX_SHOWN_CHARACTERS


def _file(info: FileInfo | None, url: str) -> schemas.TrackFormat:
    """A file that exists, or is made on its first download."""
    return schemas.TrackFormat(
        ready=info is not None, bytes=info.size_bytes if info else None, url=url
    )
