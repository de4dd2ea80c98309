"""The tracks of a job's results, whichever model made them."""

from pathlib import Path
from typing import Any

from studio.audio import CONTENT_TYPES
from studio.errors import UnknownFormat
from studio.generation import tracks as music
from studio.jobs.job import Job
from studio.separation import tracks as stems
from studio.storage import Storage, Upload
from studio.transcription import tracks as transcripts

ALL_FORMATS = {**CONTENT_TYPES, **transcripts.CONTENT_TYPES}


def separation(job: Job) -> dict[str, Any] | None:
    """The description of the stems among a job's results, if there are any."""
    return stems.separation_of(job.result)


def names(job: Job) -> list[str]:
    """All tracks that can be had of a job."""
    found = separation(job)
    own = [transcripts.TRACK] if job.result and job.request.model == "whisper" else []
    return own + _music(job) + (stems.names(found) if found else [])


def _music(job: Job) -> list[str]:
    return list((job.result or {}).get("music", ()))


def formats(track: str) -> dict[str, str]:
    """The formats of a track, with their content types."""
    return transcripts.CONTENT_TYPES if track == transcripts.TRACK else CONTENT_TYPES


def checked_format(job: Job, track: str, asked: str | None) -> str:
    """The format to send. Raises UnknownFormat."""
    known = formats(track)
    if asked is None:
        if track == transcripts.TRACK:
            return transcripts.DEFAULT_FORMAT
        found = separation(job) or job.result
        assert found is not None
        return str(found["format"])
    if asked not in known:
        raise UnknownFormat(
            f"The track {track!r} has no format {asked!r}; it has {', '.join(known)}."
        )
    return asked


def file_of(storage: Storage, upload: Upload, job: Job, track: str, file_format: str) -> Path:
    """The file of a track that the job has, made if need be. Raises ResultsGone."""
    folder = storage.result(upload.file_id, job.job_id)
    if track == transcripts.TRACK:
        return transcripts.file_of(storage, folder, file_format)
    if track in _music(job):
        assert job.result is not None
        return music.file_of(storage, folder, job.result, track, file_format)
    found = separation(job)
    assert found is not None
    return stems.file_of(storage, folder, found, track, file_format, storage.source(upload))


def file_name(track: str, file_format: str) -> str:
    """The name of a track's file in a folder of results."""
    base = f"{stems.WITHOUT}vocals" if track == stems.INSTRUMENTAL else track
    return f"{base}.{file_format}"
