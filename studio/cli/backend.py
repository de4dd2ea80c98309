"""Where jobs run; by default in this process: no server, no HTTP, the same processors."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from studio import audio
from studio.cli.hidden import hidden_folder
from studio.errors import EmptyFile, UnsupportedFileType
from studio.inference.process import prepare_process
from studio.inference.transfer import OnTransfer
from studio.jobs.body import JobOptions
from studio.jobs.database import connect
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.store import JobStore
from studio.karaoke.options import VOCALS, parse_video
from studio.karaoke.video import JobTrack, KaraokeVideo, check_cover, check_fonts
from studio.results import Track, TrackFolder
from studio.sources import sound_info
from studio.storage.disk_storage import DiskStorage
from studio.storage.folders import Folders
from studio.storage.space import DiskSpace
from studio.storage.storage import Storage
from studio.storage.uploads import Upload
from studio.transcription.alignment.lyrics import all_words, read_lyrics

TEXT = "txt"


class Models(Protocol):
    """The models that a command uses, in this process or on a server."""

    def describe(self) -> dict[str, Any]: ...

    def options_of(self, name: str) -> type[JobOptions]: ...

    def file_types_of(self, name: str) -> frozenset[str]: ...

    def formats_of(self, name: str) -> dict[str, str]: ...

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request:
        """A checked request. If it has a fingerprint, finished work is not repeated."""


class FinishedJob(Protocol):
    """A job that has ended, and its tracks."""

    @property
    def result(self) -> dict[str, Any]: ...

    def write(self, track: str, file_format: str, target: Path, offset_ms: int = 0) -> None:
        """Write a track to the new file `target`."""

    def write_video(
        self, options: Mapping[str, str], target: Path, on_wait: Callable[[], None]
    ) -> None:
        """Write a karaoke video to the new file `target`. `on_wait` may raise to cancel.

        Raises a StudioError.
        """


class Backend(Protocol):
    """Where the jobs of a command run: in this process, or on a server."""

    @property
    def models(self) -> Models: ...

    def fetch(self, model: str, variant: str | None, on_transfer: OnTransfer) -> None:
        """Download the weights of a variant, or of the default one, if they are missing.

        Raises UnknownVariant, WeightsMissing, ModelUnusable or DiskFull.
        """

    def upload(self, path: Path, extensions: Iterable[str]) -> Upload:
        """Upload a file. Raises a StudioError."""

    def text(self, content: str) -> Path:
        """A text file with this content, for `upload`."""

    def check_video(self, path: Path, request: Request, options: Mapping[str, str]) -> None:
        """Raise a StudioError if the video of a file cannot be made.

        The words are not known before the job, unless they are an option of the request.
        """

    def run(self, request: Request, report: Report) -> FinishedJob:
        """Do a job. Raises a StudioError."""

    def forget(self, upload: Upload) -> None:
        """Remove what belongs to a file; the file itself stays."""


class Processor(Protocol):
    @property
    def default(self) -> str: ...

    def check_variant(self, name: str) -> None: ...

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None: ...

    def run(self, job: Job, report: Report) -> dict[str, Any]: ...

    def tracks(self, job: Job) -> Sequence[Track]: ...

    def joined(self, job: Job) -> Track | None: ...


class Processors(Models, Protocol):
    """The model processors of this process, by name."""

    def get(self, name: str) -> Processor: ...

    def check_text(self, path: Path) -> None: ...


MakeProcessors = Callable[[Storage, JobStore], Processors]


@dataclass(frozen=True)
class LocalFinishedJob:
    """A job of this process: its result, and a folder with its tracks."""

    result: dict[str, Any]
    tracks: dict[str, Track]
    folder: TrackFolder
    joined: Track | None = None
    fonts: Path | None = None

    def default_format(self, track: str) -> str:
        return self.tracks[track].default_format

    def write(self, track: str, file_format: str, target: Path, offset_ms: int = 0) -> None:
        source = self.tracks[track].in_format(self.folder, file_format, offset_ms).path
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    def write_video(
        self, options: Mapping[str, str], target: Path, on_wait: Callable[[], None]
    ) -> None:
        """The words and the vocals must be those of this job."""
        words = next(track for track in self.tracks.values() if track.lyrics is not None)
        assert self.joined is not None
        video = KaraokeVideo(
            JobTrack(words, self.folder),
            JobTrack(self.joined, self.folder),
            parse_video(options, self.joined.channels),
            self.fonts,
        )
        video.write(target, on_wait)


class LocalBackend:
    """The processors with a storage of their own, which lasts as long as the backend."""

    def __init__(
        self,
        models: Processors,
        storage: DiskStorage,
        store: JobStore,
        folder: Path,
        fonts: Path | None,
    ) -> None:
        self.models = models
        self._fonts = fonts
        self._folder = folder
        self._storage = storage
        self._store = store

    def fetch(self, model: str, variant: str | None, on_transfer: OnTransfer) -> None:
        processor = self.models.get(model)
        name = variant or processor.default
        processor.check_variant(name)
        processor.fetch(name, on_transfer)

    def upload(self, path: Path, extensions: Iterable[str]) -> Upload:
        """Take a file as it is: audio is examined, not copied. Raises a StudioError."""
        file_type = path.suffix.lower().lstrip(".")
        if file_type not in (known := sorted(extensions)):
            raise UnsupportedFileType(
                f"{path.name!r} has none of the extensions {', '.join('.' + one for one in known)}."
            )
        if file_type == TEXT:
            self.models.check_text(path)
            return self._storage.refer(path, file_type, None)
        if path.stat().st_size == 0:
            raise EmptyFile(f"{path.name!r} is empty. Check the file and try again.")
        return self._storage.refer(path, file_type, sound_info(audio.probe(path)))

    def text(self, content: str) -> Path:
        """A text file with this content, for `upload`."""
        path = self._folder / f"{secrets.token_hex(4)}.{TEXT}"
        path.write_text(content, "utf-8")
        return path

    def check_video(self, path: Path, request: Request, options: Mapping[str, str]) -> None:
        video, job = parse_video(options, [VOCALS]), request.options
        check_cover(path, video)
        lyrics = "".join(all_words(read_lyrics(job["lyrics"]))) if job["lyrics"] else ""
        # Translations are in English.
        language = job["language"] if job["task"] == "transcribe" else None
        check_fonts(path, video, lyrics, language, self._fonts)

    def run(self, request: Request, report: Report) -> LocalFinishedJob:
        """Do a job. Raises a StudioError."""
        job = self._store.add(request)
        processor = self.models.get(request.model)
        result = processor.run(job, report)
        done = replace(job, state=State.COMPLETED, result=result, finished_at=time.time())
        upload = self._storage.upload(request.file_id)
        folder = TrackFolder.of(self._storage, upload, job)
        tracks = {track.name: track for track in processor.tracks(done)}
        return LocalFinishedJob(result, tracks, folder, processor.joined(done), self._fonts)

    def forget(self, upload: Upload) -> None:
        """Remove what belongs to a file; the file itself stays."""
        self._storage.remove(upload.file_id)


@contextmanager
def open_backend(
    make_processors: MakeProcessors, folder: Path, fonts: Path | None = None
) -> Iterator[LocalBackend]:
    """A backend whose files are in a hidden folder inside `folder`, removed at the end.

    `fonts` is a folder with more fonts for videos. Raises InvalidOption, StorageUnavailable or
    DiskFull if the hidden folder cannot be made.
    """
    prepare_process()
    with hidden_folder(folder) as own:
        folders = Folders(own / "uploads", own / "outputs")
        storage = DiskStorage(folders, DiskSpace(folders.uploads, folders.outputs))
        storage.open()
        store = JobStore(connect(f"sqlite:///{own / 'jobs.sqlite3'}"))
        store.open()
        with closing(store):
            yield LocalBackend(make_processors(storage, store), storage, store, own, fonts)


def describe_models(make_processors: MakeProcessors) -> dict[str, Any]:
    """The models and their variants. It writes nothing, so that it works in any folder."""
    folders = Folders(Path("uploads"), Path("outputs"))
    storage = DiskStorage(folders, DiskSpace(folders.uploads, folders.outputs))
    return make_processors(storage, JobStore(connect("sqlite://"))).describe()
