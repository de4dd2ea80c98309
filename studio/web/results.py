"""The tracks of a job's results, whichever model made them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.audio import CONTENT_TYPES
from studio.errors import UnknownFormat
from studio.generation import tracks as music
from studio.jobs.job import Job, State
from studio.separation import tracks as stems
from studio.storage.files import Storage, Upload
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


def archived(jobs: Iterable[Job], asked: str | None) -> tuple[str, list[tuple[Job, str, str]]]:
    """What the archive of a file holds, in a word; and job, track and format of each of its files.

    `jobs` has the latest first. Stems, music and the transcript each come from the latest completed
    job that has them; where no format is asked for, sound comes in the job's own, and text in all.
    Raises UnknownFormat where no track has the format that is asked for.
    """
    latest: dict[str, tuple[Job, list[str]]] = {}
    for job in jobs:
        for kind, tracks in _by_kind(job).items():
            if tracks and job.state is State.COMPLETED:
                latest.setdefault(kind, (job, tracks))
    files: dict[str, list[tuple[Job, str, str]]] = {}
    for kind, (job, tracks) in latest.items():
        for track in tracks:
            for file_format in _archive_formats(job, track, asked):
                files.setdefault(kind, []).append((job, track, file_format))
    if not files:
        known = dict.fromkeys(one for _, tracks in latest.values() for one in formats(tracks[0]))
        raise UnknownFormat(
            f"No track of this file has the format {asked!r}; there are {', '.join(known)}."
        )
    name = next(iter(files)) if len(files) == 1 else "all"
    return name, [one for of_kind in files.values() for one in of_kind]


def _archive_formats(job: Job, track: str, asked: str | None) -> list[str]:
    if asked is not None:
        return [asked] if asked in formats(track) else []
    if track == transcripts.TRACK:
        return list(formats(track))
    return [checked_format(job, track, None)]


def _by_kind(job: Job) -> dict[str, list[str]]:
    """The tracks of a job that an archive holds: not those that are made of others."""
    found = separation(job)
    return {
        "stems": list(found["stems"]) if found else [],
        "music": _music(job),
        transcripts.TRACK: [transcripts.TRACK] if transcripts.TRACK in names(job) else [],
    }


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
