"""Uploads and results on disk. Everything visible is complete, because it appears by rename."""

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from studio.errors import DiskFull, UnknownFile
from studio.inference.content_hash import content_hash
from studio.storage.folders import Folders, is_id
from studio.storage.fsync import sync, sync_content, sync_names
from studio.storage.incoming import IncomingFile
from studio.storage.on_demand import OnDemand
from studio.storage.orphans import Orphans
from studio.storage.owner import Owner
from studio.storage.space import DiskSpace, disk_errors, size_bytes


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


class Storage:
    """All files of the server. Thread-safe."""

    def __init__(
        self,
        uploads: Path,
        outputs: Path,
        min_free_bytes: int,
        most_bytes: int = 0,
        also_counted: tuple[Path, ...] = (),
    ) -> None:
        """`most_bytes` limits the total size of uploads, results and the folders `also_counted`
        (0: no limit)."""
        self._space = DiskSpace(uploads, outputs, min_free_bytes, most_bytes, also_counted)
        self._folders = Folders(uploads, outputs)
        self._owner = Owner(self._folders.locks, self._folders.server)
        self._lock = Lock()
        self.orphans = Orphans(self._folders, self._lock)
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
        self._space.check_writable()

    def free_bytes(self) -> int:
        return self._space.free_bytes()

    def used_bytes(self) -> int:
        return self._space.used_bytes()

    def used_bytes_of(self, owner: str) -> int:
        """The size of an owner's uploads and results, measured on every call."""
        folders = []
        for file_id in self.file_ids():
            try:
                if self.upload(file_id).owner == owner:
                    folders += [self._folders.uploads / file_id, self._folders.outputs / file_id]
            except UnknownFile:
                continue
        return size_bytes(*folders)

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
        file_id = temporary_id or secrets.token_hex(16)
        upload = Upload(
            file_id,
            filename,
            file_type,
            incoming.size_bytes,
            incoming.sha256,
            sound,
            owner,
            time.time(),
            temporary_id is not None,
        )
        folder = self._folders.new_incoming()
        try:
            with disk_errors():
                folder.mkdir()
                (folder / "upload.json").write_text(json.dumps(asdict(upload)), encoding="utf-8")
                incoming.path.rename(folder / f"source.{file_type}")
                sync(folder)
                if not self._make_visible(folder, file_id):
                    return self.upload(file_id)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return upload

    def _make_visible(self, folder: Path, file_id: str) -> bool:
        """Rename a complete upload to its ID. Returns False if there is one with this ID."""
        try:
            folder.rename(self._folders.uploads / file_id)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        sync_names(self._folders.uploads)
        return True

    def touch(self, file_id: str) -> None:
        """Record that an upload was used. Raises UnknownFile."""
        try:
            os.utime(self._folders.uploads / file_id / "upload.json")
        except FileNotFoundError:
            raise unknown_file(file_id) from None

    def used_at(self, file_id: str) -> float:
        """When an upload arrived or was last touched, in Unix seconds. Raises UnknownFile."""
        try:
            return (self._folders.uploads / file_id / "upload.json").stat().st_mtime
        except FileNotFoundError:
            raise unknown_file(file_id) from None

    def refer(self, path: Path, file_type: str, sound: SoundInfo | None) -> Upload:
        """Make a file of the user visible as an upload: a link to it, or a copy without links."""
        upload = Upload(
            secrets.token_hex(16),
            path.name,
            file_type,
            path.stat().st_size,
            content_hash(path),
            sound,
            created_at=time.time(),
        )
        folder = self._folders.uploads / upload.file_id
        with disk_errors():
            folder.mkdir()
            (folder / "upload.json").write_text(json.dumps(asdict(upload)), encoding="utf-8")
            source = folder / f"source.{file_type}"
            try:
                source.symlink_to(path.absolute())
            except OSError:
                shutil.copy2(path, source)
        return upload

    def upload(self, file_id: str) -> Upload:
        """The upload with this ID. Raises UnknownFile."""
        if is_id(file_id):
            path = self._folders.uploads / file_id / "upload.json"
            try:
                data = json.loads(path.read_text("utf-8"))
                data.setdefault("created_at", path.stat().st_mtime)
            except FileNotFoundError:
                pass
            else:
                sound = SoundInfo(**data.pop("sound")) if data["sound"] else None
                return Upload(**{**data, "sound": sound})
        raise unknown_file(file_id)

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""
        return self._folders.file_ids()

    def has(self, file_id: str) -> bool:
        return self._folders.has(file_id)

    def source(self, upload: Upload) -> Path:
        return self._folders.uploads / upload.file_id / f"source.{upload.file_type}"

    def result(self, file_id: str, job_id: str) -> Path:
        """Folder of a completed job's results."""
        return self._folders.result(file_id, job_id)

    @contextmanager
    def work(self, job_id: str) -> Iterator[Path]:
        """A temporary folder for the results of a job in progress."""
        folder = self._folders.new_work(job_id)
        with disk_errors():
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, work: Path, file_id: str, job_id: str) -> None:
        """Turn a work folder into the job's results, atomically. Raises UnknownFile."""
        with self._lock:
            self.upload(file_id)
            target = self.result(file_id, job_id)
            with disk_errors():
                sync(work)
                target.parent.mkdir(exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)
                sync_names(target.parent)
                # The first result of a file creates its folder.
                sync_names(self._folders.outputs)
        self._space.measure_anew()

    def discard_result(self, file_id: str, job_id: str) -> None:
        """Remove the results of one job, if there are any."""
        shutil.rmtree(self.result(file_id, job_id), ignore_errors=True)

    def share(self, source_folder: Path, work: Path, *, with_edits: bool = False) -> None:
        """Add the files of another result to a work folder, as hard links if possible.

        Its folders contain edited versions; they are shared if `with_edits`.
        """
        with disk_errors():
            for path in source_folder.iterdir():
                if path.name.startswith("."):
                    continue
                if not path.is_dir():
                    self.link(path, work / path.name)
                elif with_edits:
                    target = work / path.name
                    target.mkdir()
                    self.share(path, target, with_edits=True)

    def link(self, path: Path, target: Path) -> None:
        """Copy the file `path` to `target`, as a hard link if possible."""
        with disk_errors():
            try:
                os.link(path, target)
            except OSError:
                shutil.copy2(path, target)

    def add(self, folder: Path, name: str, needed_bytes: int, make: Callable[[Path], None]) -> Path:
        """The file `name` in a result folder, made by `make(path)` if it does not exist.

        It takes at most `needed_bytes`. Raises DiskFull if there is not enough space, and the
        errors of `OnDemand.make`.
        """
        target = folder / name
        if not target.exists():
            self._on_demand.make(target, lambda: self._make(target, needed_bytes, make))
        return target

    def _make(self, target: Path, needed_bytes: int, make: Callable[[Path], None]) -> None:
        folder = target.parent
        unfinished = self._folders.new_work(target.name)
        try:
            with self._space.promise(needed_bytes), disk_errors():
                make(unfinished)
                size_bytes = unfinished.stat().st_size
                sync_content(unfinished)
                unfinished.rename(target)
                sync_names(folder)
                self._space.count(size_bytes)
        except Exception:
            if not folder.is_dir():
                raise UnknownFile("The file has been deleted.") from None
            raise
        finally:
            unfinished.unlink(missing_ok=True)

    def remove(self, file_id: str) -> None:
        """Delete an upload and all its results; they disappear atomically."""
        self.upload(file_id)
        with self._lock:
            for path, gone in (
                (self._folders.uploads / file_id, self._folders.new_incoming()),
                (self._folders.outputs / file_id, self._folders.new_work("gone")),
            ):
                try:
                    path.rename(gone)
                except FileNotFoundError:
                    continue
                shutil.rmtree(gone, ignore_errors=True)


def unknown_file(file_id: str) -> UnknownFile:
    return UnknownFile(
        f"The file {file_id!r} does not exist. Upload it first (POST /upload) and use the "
        "file_id in the response."
    )
