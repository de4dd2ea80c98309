"""Runs jobs in this process: no server, no HTTP, the same processors."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from studio import audio
from studio.errors import UnsupportedFileType
from studio.inference.process import prepare_process
from studio.jobs.body import JobOptions
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.store import JobStore, connect
from studio.results import Track, TrackFolder
from studio.sources import sound_info
from studio.storage.files import Storage, Upload

TEXT = "txt"


class Processor(Protocol):
    def run(self, job: Job, report: Report) -> dict[str, Any]: ...

    def tracks(self, job: Job) -> Sequence[Track]: ...


class Processors(Protocol):
    """The model processors, by name."""

    def get(self, name: str) -> Processor: ...

    def describe(self) -> dict[str, Any]: ...

    def options_of(self, name: str) -> type[JobOptions]: ...

    def file_types_of(self, name: str) -> frozenset[str]: ...

    def formats_of(self, name: str) -> dict[str, str]: ...

    def check_text(self, path: Path) -> None: ...

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request: ...


MakeProcessors = Callable[[Storage, JobStore], Processors]


@dataclass(frozen=True)
class Done:
    """A job that has ended: its result, and a folder with its tracks."""

    result: dict[str, Any]
    tracks: dict[str, Track]
    folder: TrackFolder

    def write(self, track: str, file_format: str, target: Path) -> None:
        """Put a track at `target`; it appears complete, by rename."""
        source = self.tracks[track].make(self.folder, file_format)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
        try:
            try:
                os.link(source, unfinished)
            except OSError:
                shutil.copy2(source, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


class Workshop:
    """The processors with a storage of their own, which lasts as long as the workshop."""

    def __init__(self, models: Processors, storage: Storage, store: JobStore, folder: Path) -> None:
        self.models = models
        self._folder = folder
        self._storage = storage
        self._store = store

    def upload(self, path: Path, extensions: Iterable[str]) -> Upload:
        """Take a file as it is: audio is examined, not copied. Raises a StudioError."""
        file_type = path.suffix.lower().lstrip(".")
        if file_type not in (known := sorted(extensions)):
            raise UnsupportedFileType(
                f"{path.name!r} does not end in one of {', '.join('.' + one for one in known)}."
            )
        if file_type == TEXT:
            self.models.check_text(path)
            return self._storage.refer(path, file_type, None)
        return self._storage.refer(path, file_type, sound_info(audio.probe(path)))

    def text(self, content: str) -> Path:
        """A text file with this content, for `upload`."""
        path = self._folder / f"{secrets.token_hex(4)}.{TEXT}"
        path.write_text(content, "utf-8")
        return path

    def run(self, request: Request, report: Report) -> Done:
        """Do a job. Raises a StudioError."""
        job = self._store.add(request)
        processor = self.models.get(request.model)
        result = processor.run(job, report)
        done = replace(job, state=State.COMPLETED, result=result, finished_at=time.time())
        upload = self._storage.upload(request.file_id)
        folder = TrackFolder(
            self._storage,
            self._storage.result(upload.file_id, job.job_id),
            self._storage.source(upload),
        )
        return Done(result, {track.name: track for track in processor.tracks(done)}, folder)

    def forget(self, upload: Upload) -> None:
        """Remove what belongs to a file; the file itself stays."""
        self._storage.remove(upload.file_id)


@contextmanager
def open_workshop(make_processors: MakeProcessors, folder: Path) -> Iterator[Workshop]:
    """A workshop whose files are in a hidden folder inside `folder`, removed at the end."""
    prepare_process()
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f".audio-studio-{secrets.token_hex(4)}"
    own.mkdir()
    store: JobStore | None = None
    try:
        storage = Storage(own / "uploads", own / "outputs", 0)
        storage.open()
        store = JobStore(connect(f"sqlite:///{own / 'jobs.sqlite3'}"))
        store.open()
        yield Workshop(make_processors(storage, store), storage, store, own)
    finally:
        if store is not None:
            store.close()
        shutil.rmtree(own, ignore_errors=True)
