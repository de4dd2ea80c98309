"""Finds the sound that a file_id stands for: an upload, or the music made from a prompt."""

from dataclasses import dataclass
from pathlib import Path

from studio.errors import InvalidOption, NotReady, UnknownFile
from studio.generation import tracks
from studio.generation.options import GenerationOptions
from studio.jobs.job import Job, State
from studio.jobs.store import JobStore
from studio.storage.files import Storage, Upload


@dataclass(frozen=True)
class Source:
    """A sound on disk. `identity` changes with its content."""

    path: Path
    duration_s: float
    identity: str


def music_of(storage: Storage, store: JobStore, upload: Upload, track: str) -> Source:
    """The latest generated track of that name of a prompt. Raises NotReady, InvalidOption."""
    if upload.sound is not None:
        raise InvalidOption(
            f"The option 'source' is {track!r}, and {upload.filename!r} is a sound, from which no "
            "music was made: leave `source` out."
        )
    for job in store.of_file(upload.file_id):
        if _has(job, track):
            assert job.result is not None
            path = storage.result(upload.file_id, job.job_id) / f"{track}.wav"
            if path.is_file():
                return Source(path, job.result["duration_s"], job.request.fingerprint)
    raise NotReady(
        f"There is no track {track!r} of this file yet. Make it first: POST "
        f"/process/musicgen/{upload.file_id}."
    )


def _has(job: Job, track: str) -> bool:
    is_music = job.request.model == "musicgen" and job.state is State.COMPLETED
    return is_music and job.result is not None and track in job.result["music"]


def upload_of(storage: Storage, upload: Upload) -> Source:
    """An uploaded sound."""
    assert upload.sound is not None
    return Source(storage.source(upload), upload.sound.duration_s, upload.sha256)


def sounds_of(
    storage: Storage, store: JobStore, upload: Upload, options: GenerationOptions
) -> list[Source | None]:
    """What `continue_from` and `melody_from` name. Raises InvalidOption or NotReady."""
    named = {"continue_from": options.continue_from, "melody_from": options.melody_from}
    return [
        _sound_of(storage, store, upload, option, file_id) if file_id else None
        for option, file_id in named.items()
    ]


def _sound_of(
    storage: Storage, store: JobStore, asking: Upload, option: str, file_id: str
) -> Source:
    """The sound of another file of the same owner that an option names."""
    try:
        other = storage.upload(file_id)
    except UnknownFile:
        other = None
    if other is None or other.owner != asking.owner:
        raise InvalidOption(
            f"The option {option!r} is {file_id!r}: there is no such file. Upload it first."
        )
    if other.sound is None:
        return music_of(storage, store, other, tracks.TRACK)
    return upload_of(storage, other)
