"""What every storage of uploads and results provides, wherever it keeps them.

`studio.storage.disk_storage` keeps them in folders, `studio.storage.object_storage` in a bucket.
"""

import os
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from studio.errors import DiskFull
from studio.storage.folders import Folders
from studio.storage.incoming import IncomingFile
from studio.storage.on_demand import OnDemand
from studio.storage.orphans import Orphans
from studio.storage.owner import Owner
from studio.storage.results import ResultFolder, ResultId, StoredFile
from studio.storage.space import DiskSpace, check_writable, disk_errors, folder_errors
from studio.storage.uploads import Entry, SoundInfo, Upload, Uploads


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
        """The IDs that belong to uploads."""
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
