"""The sounds that jobs read: uploads, and tracks of earlier jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.errors import NotReady
from studio.jobs.job import Job, State
from studio.jobs.store import JobStore
from studio.results import Track
from studio.storage.files import Storage, Upload


@dataclass(frozen=True)
class Source:
    """A sound to work on: its file and its length. `identity` changes with its content."""

    path: Path
    duration_s: float
    identity: str = ""


class Sources:
    """Finds sounds. `tracks_of` gives the tracks of a job, `makers_for` the models for a file."""

    def __init__(
        self,
        storage: Storage,
        store: JobStore,
        tracks_of: Callable[[Job], Sequence[Track]],
        makers_for: Callable[[Upload], Sequence[str]],
    ) -> None:
        self.storage = storage
        self._store = store
        self._tracks_of = tracks_of
        self._makers_for = makers_for

    def upload(self, upload: Upload) -> Source:
        """An uploaded sound."""
        assert upload.sound is not None
        return Source(self.storage.source(upload), upload.sound.duration_s, upload.sha256)

    def find(
        self, upload: Upload, track: str, is_wanted: Callable[[Job], bool] = lambda _: True
    ) -> tuple[Job, Source] | None:
        """The WAV of a track, from the latest completed job of an upload that is wanted."""
        for job in self._store.of_file(upload.file_id):
            if job.state is not State.COMPLETED or job.result is None or not is_wanted(job):
                continue
            if all(one.name != track for one in self._tracks_of(job)):
                continue
            path = self.storage.result(upload.file_id, job.job_id) / f"{track}.wav"
            if path.is_file():
                source = Source(path, job.result["duration_s"], job.request.fingerprint)
                return job, source
        return None

    def track(self, upload: Upload, track: str) -> Source:
        """The WAV of a track of an upload. Raises NotReady where no job has made it."""
        found = self.find(upload, track)
        if found is None:
            ways = " or ".join(
                f"POST /process/{name}/{upload.file_id}" for name in self._makers_for(upload)
            )
            raise NotReady(f"The track {track!r} has not been generated yet. Start a job: {ways}.")
        return found[1]
