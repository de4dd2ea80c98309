"""What every storage of uploads and results provides, wherever it keeps them.

`studio.storage.disk` keeps them in folders.
"""

import os
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from studio.errors import DiskFull, StorageUnavailable, UnknownFile
from studio.storage.folders import Folders
from studio.storage.incoming import IncomingFile
from studio.storage.on_demand import OnDemand
from studio.storage.owner import Owner
from studio.storage.space import DiskSpace, check_writable, disk_errors, folder_errors

# The database may not know younger uploads and results yet.
HALF_MADE_AFTER_S = 3600.0
# Files in progress that have not been written to for this long are abandoned.
ABANDONED_AFTER_S = 24 * 3600.0


@dataclass(frozen=True)
class SoundInfo:
    """Duration in seconds, sample rate in Hz, and channel count of an upload.

    `note` is a remark for the uploader, if any.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    note: str | None = None


@dataclass(frozen=True)
class Upload:
    """An uploaded file. `sound` is None for text, `owner` is None if the server had no API keys.

    `created_at` is in Unix seconds. A temporary upload is deleted soon after its last use.
    """

    file_id: str
    filename: str
    file_type: str
    size_bytes: int
    sha256: str
    sound: SoundInfo | None
    owner: str | None = None
    created_at: float = 0.0
    is_temporary: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Upload":
        """The upload with these fields, as `asdict` gives them."""
        sound = SoundInfo(**record["sound"]) if record["sound"] else None
        return cls(**{**record, "sound": sound})


Entry = tuple[float, str]
"""When an upload arrived (Unix seconds), and its ID."""


class UnreadableRecord(StorageUnavailable):
    """The record of one upload cannot be read. Those of others can, so lists leave it out."""


@contextmanager
def record_errors(file_id: str) -> Iterator[None]:
    """Convert errors in reading a record, which may be that of a newer version, for callers."""
    try:
        yield
    except FileNotFoundError:
        raise unknown_file(file_id) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableRecord(
            f"The record of the file {file_id!r} cannot be read ({type(error).__name__})."
        ) from error


class Uploads(Protocol):
    """The records of all uploads. An upload exists if it has a record."""

    def read(self, file_id: str) -> Upload:
        """The upload with this ID. Raises UnknownFile, UnreadableRecord or StorageUnavailable."""

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""

    def of_owner(self, owner: str) -> list[Entry]:
        """The uploads of an owner, newest first, without temporary ones."""

    def existing(self, file_ids: Collection[str]) -> set[str]:
        """Those of the IDs that uploads have."""

    def is_empty(self) -> bool:
        """Whether there are no uploads."""

    def arrived_before(self, at: float, temporary_at: float) -> list[str]:
        """The IDs of uploads that arrived before `at`, in Unix seconds; may include others.

        `temporary_at` applies to temporary uploads.
        """

    def touch(self, file_id: str) -> None:
        """Record that an upload was used. Raises UnknownFile."""

    def used_at(self, file_id: str) -> float:
        """When an upload arrived or was last touched, in Unix seconds. Raises UnknownFile."""


@dataclass(frozen=True)
class FileInfo:
    """The size of a stored file, and when it was written, in Unix seconds.

    `etag` identifies its content, if the storage says so.
    """

    size_bytes: int
    modified_at: float
    etag: str = ""


class RemoteFile(Protocol):
    """A file that is on another machine."""

    def read(self, first: int, last: int) -> Generator[bytes, None, None]:
        """The bytes from `first` to `last`, both included. Raises FileNotFoundError."""

    def address(self, content_type: str) -> str | None:
        """A URL from which a proxy may fetch the file; None if the server has to send it."""


class StoredFile(Protocol):
    """A file of an upload or of a result, which may not exist."""

    @property
    def path(self) -> Path:
        """The file on the local disk. It stays there until the current `Storage.hold` ends."""

    @property
    def remote(self) -> RemoteFile | None:
        """How to read the file where it is; None if it is on the local disk."""

    def info(self) -> FileInfo | None:
        """None if the file does not exist."""


@dataclass(frozen=True)
class ResultId:
    """Identifies the files of a result: the folder `name` of a file.

    It also has the files of the result `shares` (`file_id/name`), if that is not empty.
    """

    file_id: str
    name: str
    shares: str = ""

    @property
    def key(self) -> str:
        return f"{self.file_id}/{self.name}"


class ResultFolder(Protocol):
    """The files of one result, or those made from an upload, by name.

    The names of files in an inner folder contain a slash.
    """

    def file(self, name: str) -> StoredFile: ...

    def exists(self) -> bool: ...

    def infos(self) -> Mapping[str, FileInfo]:
        """All files, by name."""

    def add(
        self, name: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]
    ) -> StoredFile:
        """The file `name`, made by `make(path)` if it does not exist.

        It takes at most `needed_bytes()`. Raises DiskFull if there is not enough space, and the
        errors of `OnDemand.make`.
        """

    def within(self, folder: str) -> "ResultFolder":
        """The files of an inner folder, which ends with a slash; empty: these files.

        On disk, nothing can be added to a folder that was deleted.
        """

    def remove(self, folder: str) -> None:
        """Delete an inner folder, if it exists."""


Choose = Callable[[Sequence["ResultId"]], Collection["ResultId"]]
"""Chooses some of these results."""


class Orphans(Protocol):
    """Finds and deletes what crashes left behind. Times are in Unix seconds."""

    def remove(self, now: float) -> None:
        """Delete incomplete uploads, results without an upload, and abandoned files in progress.

        If there is no upload at all, results are kept: the disk of the uploads may not be mounted.
        """

    def remove_results(self, choose: Choose, now: float) -> None:
        """Delete the results that `choose` returns, unless they were written within the last hour.

        `choose` is called with one batch at a time. Results exist for a moment before their job is
        stored.
        """


class Storage(ABC):
    """All files of the server. Thread-safe.

    Files in progress are in local folders that belong to this server.
    """

    orphans: Orphans

    def __init__(self, folders: Folders, space: DiskSpace, uploads: Uploads) -> None:
        self._folders = folders
        self._space = space
        self._uploads = uploads
        self._owner = Owner(folders.locks, folders.server)
        self._on_demand = OnDemand()

    def open(self) -> None:
        """Create the folders and delete what crashed servers left unfinished."""
        aside = (self._folders.incoming, self._folders.work)
        for folder in aside:
            folder.mkdir(parents=True, exist_ok=True)
        self._owner.claim()
        self._owner.clear_abandoned(*aside)

    def close(self) -> None:
        """Let other servers delete what this one left unfinished."""
        self._owner.release()

    def check_space(self, needed_bytes: int = 0) -> None:
        """Raise DiskFull if `needed_bytes` more would exceed a limit."""
        self._space.check(needed_bytes)

    def check_writable(self) -> None:
        """Raise DiskFull or StorageUnavailable if uploads and results cannot be written."""
        for probe in (self._folders.new_incoming(), self._folders.new_work("probe")):
            check_writable(probe)

    def free_bytes(self) -> int:
        return self._space.free_bytes()

    def used_bytes(self) -> int:
        return self._space.used_bytes()

    def upload(self, file_id: str) -> Upload:
        """The upload with this ID. Raises UnknownFile, UnreadableRecord or StorageUnavailable."""
        return self._uploads.read(file_id)

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""
        return self._uploads.file_ids()

    def of_owner(self, owner: str) -> list[Entry]:
        """The uploads of an owner, newest first, without temporary ones."""
        return self._uploads.of_owner(owner)

    def has(self, file_id: str) -> bool:
        return bool(self.existing([file_id]))

    def existing(self, file_ids: Collection[str]) -> set[str]:
        """Those of the IDs that uploads have."""
        return self._uploads.existing(file_ids)

    def is_empty(self) -> bool:
        """Whether there are no uploads."""
        return self._uploads.is_empty()

    def arrived_before(self, at: float, temporary_at: float) -> list[str]:
        """The IDs of uploads that arrived before `at`, in Unix seconds; may include others.

        `temporary_at` applies to temporary uploads.
        """
        return self._uploads.arrived_before(at, temporary_at)

    def touch(self, file_id: str) -> None:
        """Record that an upload was used. Raises UnknownFile."""
        self._uploads.touch(file_id)

    def used_at(self, file_id: str) -> float:
        """When an upload arrived or was last touched, in Unix seconds. Raises UnknownFile."""
        return self._uploads.used_at(file_id)

    def receive(self) -> IncomingFile:
        """Begin an upload; end it with `accept` or `discard`."""
        return IncomingFile(self._folders.new_incoming(), self.check_space)

    def discard(self, incoming: IncomingFile) -> None:
        """Delete an upload in progress, even if its last bytes no longer fit on the disk."""
        try:
            incoming.close()
        except DiskFull:
            pass
        finally:
            incoming.path.unlink(missing_ok=True)

    def accept(
        self,
        incoming: IncomingFile,
        filename: str,
        file_type: str,
        sound: SoundInfo | None,
        owner: str | None = None,
        *,
        temporary_id: str | None = None,
    ) -> Upload:
        """Make a complete upload visible: under a new ID, or as a temporary one under its ID.

        If there is already an upload with this ID, that one is returned.
        """
        incoming.close()
        upload = Upload(
            temporary_id or secrets.token_hex(16),
            filename,
            file_type,
            incoming.size_bytes,
            incoming.sha256,
            sound,
            owner,
            time.time(),
            temporary_id is not None,
        )
        return self._keep(upload, incoming.path)

    @contextmanager
    def work(self, job_id: str) -> Iterator[Path]:
        """A temporary folder for the results of a job in progress."""
        folder = self._folders.new_work(job_id)
        with folder_errors():
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def link(self, path: Path, target: Path) -> None:
        """Copy a file to a path in a work folder, as a hard link if possible."""
        with disk_errors():
            try:
                os.link(path, target)
            except OSError:
                shutil.copy2(path, target)

    def hold(self) -> AbstractContextManager[None]:
        """Keep the files whose paths are used in this block on the local disk until it ends."""
        return nullcontext()

    @abstractmethod
    def _keep(self, upload: Upload, path: Path) -> Upload:
        """Make the file at `path` visible as `upload`; or the existing upload with its ID."""

    @abstractmethod
    def source(self, upload: Upload) -> StoredFile:
        """The uploaded file itself."""

    @abstractmethod
    def beside(self, upload: Upload) -> ResultFolder:
        """The files that are made from an upload itself, and deleted with it."""

    @abstractmethod
    def result(self, result: ResultId) -> ResultFolder: ...

    @abstractmethod
    def publish(
        self, work: Path, result: ResultId, go_on: Callable[[], None] = lambda: None
    ) -> None:
        """Turn a work folder into a result, atomically. Raises UnknownFile.

        `go_on` is called repeatedly while this runs; it may raise to cancel.
        """

    @abstractmethod
    def share(self, source: ResultId, target: ResultId, *, with_edits: bool) -> ResultId:
        """Make a result that has the files of another one, without copying them if possible.

        Files in inner folders are left out: edited versions, and formats with the name of the
        upload. With `with_edits`, for the same upload, edited versions are copied. Returns `target`
        with its `shares`. Raises FileNotFoundError if the other one was deleted, and UnknownFile.
        """

    @abstractmethod
    def discard_result(self, result: ResultId) -> None:
        """Delete a result, if it exists."""

    def remove(self, file_id: str) -> None:
        """Delete an upload and all its results. Raises UnknownFile."""
        self.hide(file_id)()

    @abstractmethod
    def hide(self, file_id: str) -> Callable[[], None]:
        """Make an upload and all its results disappear at once. Raises UnknownFile.

        The returned function deletes their content, which may take long. If it is not called, a
        later sweep does it.
        """

    @abstractmethod
    def used_bytes_of(self, owner: str) -> int:
        """The size of an owner's uploads and results."""


def remove_oldest(result: ResultFolder, folder: str, newest: str, most: int) -> None:
    """Keep `most` inner folders: the one named `newest`, and the latest others.

    `folder` ends with a slash.
    """
    times: dict[str, float] = {}
    for name, info in result.infos().items():
        if name.startswith(folder):
            inner = name.removeprefix(folder).split("/")[0]
            times[inner] = max(info.modified_at, times.get(inner, 0.0))
    times.pop(newest, None)
    for inner in sorted(times, key=lambda one: -times[one])[most - 1 :]:
        result.remove(f"{folder}{inner}")


def unknown_file(file_id: str) -> UnknownFile:
    return UnknownFile(
        f"The file {file_id!r} does not exist. Upload it first (POST /upload) and use the "
        "file_id in the response."
    )
