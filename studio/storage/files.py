"""Uploads and results on disk. Whatever is visible is whole: it appears by rename, or not at all.

uploads/<file_id>/source.<type>        what was sent
uploads/<file_id>/upload.json          its name, size, hash and sound properties
uploads/.incoming/                     uploads on their way
outputs/<file_id>/<job_id>/            the results of one completed job
outputs/.work/                         results on their way
"""

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import IO

from studio.errors import DiskFull, UnknownFile
from studio.storage.fsync import sync, sync_content, sync_names
from studio.storage.on_demand import OnDemand
from studio.storage.space import DiskSpace, disk_errors, size_bytes

# On its way, but not written to for so long: whoever wrote it is gone.
ABANDONED_AFTER_S = 24 * 3600.0
HALF_MADE_AFTER_S = 3600.0

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Sound:
    """Duration in seconds, sample rate in Hz, and channel count of an upload.

    `note` says what its sender should know of it, if there is something.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    note: str | None = None


@dataclass(frozen=True)
class Upload:
    """One uploaded file. `sound` is None for text, `owner` None where no API key was asked for.

    `created_at` is in Unix seconds.
    """

    file_id: str
    filename: str
    file_type: str
    size_bytes: int
    sha256: str
    sound: Sound | None
    owner: str | None = None
    created_at: float = 0.0


class IncomingFile:
    """An upload on its way to disk: a writable binary stream that hashes and counts.

    Writing raises DiskFull when less than the configured space would be left.
    """

    def __init__(self, path: Path, check_space: Callable[[], None]) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._check_space = check_space
        self._next_check_bytes = 0
        with disk_errors():
            self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115 - closed by close()

    def write(self, data: bytes) -> int:
        if self.size_bytes >= self._next_check_bytes:
            self._check_space()
            self._next_check_bytes = self.size_bytes + (16 << 20)
        with disk_errors():
            self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        raise OSError("an upload is read from disk once it is complete")

    def close(self) -> None:
        with disk_errors():
            self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


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
        """`most_bytes` bounds what uploads, results and the folders `also_counted` take together; 0
        is no bound."""
        self._space = DiskSpace(uploads, outputs, min_free_bytes, most_bytes, also_counted)
        self._uploads = uploads
        self._outputs = outputs
        self._incoming = uploads / ".incoming"
        self._work = outputs / ".work"
        self._lock = Lock()
        self._on_demand = OnDemand()

    def open(self) -> None:
        """Create the folders and remove what a crash left half-done."""
        for folder in (self._incoming, self._work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for path in self._outputs.glob("[0-9a-f]" * 32 + "/*/.*"):
            path.unlink()

    def check_space(self, needed_bytes: int = 0) -> None:
        """Raise DiskFull when `needed_bytes` more would leave too little free, or be too much."""
        self._space.check(needed_bytes)

    def check_writable(self) -> None:
        """Raise DiskFull or StorageUnavailable when uploads and results cannot be written."""
        self._space.check_writable()

    def free_bytes(self) -> int:
        return self._space.free_bytes()

    def used_bytes(self) -> int:
        return self._space.used_bytes()

    def used_bytes_of(self, owner: str) -> int:
        """What the uploads and results of an owner take; counted anew each time."""
        folders = []
        for file_id in self.file_ids():
            try:
                if self.upload(file_id).owner == owner:
                    folders += [self._uploads / file_id, self._outputs / file_id]
            except UnknownFile:
                continue
        return size_bytes(*folders)

    def receive(self) -> IncomingFile:
        """Begin an upload; end it with `accept` or `discard`."""
        return IncomingFile(self._incoming / secrets.token_hex(16), self.check_space)

    def discard(self, incoming: IncomingFile) -> None:
        """Remove an upload on its way, also when its last bytes no longer fit on the disk."""
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
        sound: Sound | None,
        owner: str | None = None,
    ) -> Upload:
        """Make a complete upload visible under a new id."""
        incoming.close()
        file_id = secrets.token_hex(16)
        upload = Upload(
            file_id,
            filename,
            file_type,
            incoming.size_bytes,
            incoming.sha256,
            sound,
            owner,
            time.time(),
        )
        folder = self._incoming / file_id
        try:
            with disk_errors():
                folder.mkdir()
                (folder / "upload.json").write_text(json.dumps(asdict(upload)), encoding="utf-8")
                incoming.path.rename(folder / f"source.{file_type}")
                sync(folder)
                folder.rename(self._uploads / file_id)
                sync_names(self._uploads)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return upload

    def upload(self, file_id: str) -> Upload:
        """Raise UnknownFile when there is no such upload."""
        if _ID.fullmatch(file_id):
            path = self._uploads / file_id / "upload.json"
            try:
                data = json.loads(path.read_text("utf-8"))
                data.setdefault("created_at", path.stat().st_mtime)
            except FileNotFoundError:
                pass
            else:
                sound = Sound(**data.pop("sound")) if data["sound"] else None
                return Upload(**{**data, "sound": sound})
        raise unknown_file(file_id)

    def file_ids(self) -> list[str]:
        """All uploads that there are."""
        return [path.name for path in self._uploads.iterdir() if _ID.fullmatch(path.name)]

    def has(self, file_id: str) -> bool:
        return (self._uploads / file_id).is_dir()

    def source(self, upload: Upload) -> Path:
        return self._uploads / upload.file_id / f"source.{upload.file_type}"

    def result(self, file_id: str, job_id: str) -> Path:
        """Folder of a completed job's results."""
        return self._outputs / file_id / job_id

    @contextmanager
    def work(self, job_id: str) -> Iterator[Path]:
        """An empty folder for a job's results on their way; gone afterwards."""
        folder = self._work / f"{job_id}-{secrets.token_hex(4)}"
        with disk_errors():
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, work: Path, file_id: str, job_id: str) -> None:
        """Make a work folder the job's result, at once; UnknownFile if the upload is gone."""
        with self._lock:
            self.upload(file_id)
            target = self.result(file_id, job_id)
            with disk_errors():
                sync(work)
                target.parent.mkdir(exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)
                sync_names(target.parent)
                # Its first result made the file's own folder.
                sync_names(self._outputs)
        self._space.measure_anew()

    def discard_result(self, file_id: str, job_id: str) -> None:
        """Remove the results of one job, if there are any."""
        shutil.rmtree(self.result(file_id, job_id), ignore_errors=True)

    def share(self, source_folder: Path, work: Path) -> None:
        """Fill a work folder with the files of another result, as hard links where possible."""
        with disk_errors():
            for path in source_folder.iterdir():
                if not path.name.startswith("."):
                    self.link(path, work / path.name)

    def link(self, path: Path, target: Path) -> None:
        """Put the file `path` also at `target`, as a hard link where possible."""
        with disk_errors():
            try:
                os.link(path, target)
            except OSError:
                shutil.copy2(path, target)

    def add(self, folder: Path, name: str, needed_bytes: int, make: Callable[[Path], None]) -> Path:
        """The file `name` of a result folder; made first by `make(path)` when it is not there.

        It may take `needed_bytes` at most. Raises DiskFull when there is no room for so many, and
        what `OnDemand.make` raises.
        """
        target = folder / name
        if not target.exists():
            self._on_demand.make(target, lambda: self._make(target, needed_bytes, make))
        return target

    def _make(self, target: Path, needed_bytes: int, make: Callable[[Path], None]) -> None:
        folder, name = target.parent, target.name
        unfinished = folder / f".{secrets.token_hex(8)}-{name}"
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
                raise UnknownFile("The file was removed in the meantime.") from None
            raise
        finally:
            unfinished.unlink(missing_ok=True)

    def remove(self, file_id: str) -> None:
        """Remove an upload and all its results; they vanish at once."""
        self.upload(file_id)
        with self._lock:
            for root, aside in ((self._uploads, self._incoming), (self._outputs, self._work)):
                gone = aside / f"gone-{secrets.token_hex(8)}"
                try:
                    (root / file_id).rename(gone)
                except FileNotFoundError:
                    continue
                shutil.rmtree(gone, ignore_errors=True)

    def remove_orphans(self, now: float) -> None:
        """Remove what belongs to nothing: uploads without a record or a source, results of uploads
        that are gone, and what nobody has written to for long on its way. `now` in Unix seconds.

        Where there is no upload at all, results stay: the disk of the uploads may be missing.
        """
        for aside in (self._incoming, self._work):
            for path in aside.iterdir():
                if now - _changed_at(path) > ABANDONED_AFTER_S:
                    self._clear(path)
        for path in self._uploads.iterdir():
            if (
                _ID.fullmatch(path.name)
                and not _is_whole_upload(path)
                and now - _changed_at(path) > HALF_MADE_AFTER_S
            ):
                self._clear(path)
        results = [path for path in self._outputs.iterdir() if _ID.fullmatch(path.name)]
        if not self.file_ids():
            return
        for path in results:
            with self._lock:
                if not self.has(path.name):
                    self._clear(path)

    def results(self) -> list[tuple[str, str]]:
        """File id and job id of all results that there are."""
        return [
            (path.parent.name, path.name)
            for path in self._outputs.glob("*/*")
            if _ID.fullmatch(path.parent.name) and _ID.fullmatch(path.name) and path.is_dir()
        ]

    def remove_stray_result(self, file_id: str, job_id: str, now: float) -> None:
        """Remove the results of one job, at once, unless they were written to within the hour.

        `now` is in Unix seconds. Results lie there for a moment before their job is known.
        """
        path = self.result(file_id, job_id)
        if now - _changed_at(path) <= HALF_MADE_AFTER_S:
            return
        gone = self._work / f"gone-{secrets.token_hex(8)}"
        with self._lock:
            try:
                path.rename(gone)
            except FileNotFoundError:
                return
        log.info("removing %s, which belongs to no job", path)
        shutil.rmtree(gone, ignore_errors=True)

    def _clear(self, path: Path) -> None:
        log.info("removing %s, which belongs to nothing", path)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def unknown_file(file_id: str) -> UnknownFile:
    return UnknownFile(
        f"There is no file {file_id!r}. Upload it first (POST /upload) and use the file_id of the "
        "answer."
    )


def _is_whole_upload(folder: Path) -> bool:
    try:
        json.loads((folder / "upload.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return any(folder.glob("source.*"))


def _changed_at(path: Path) -> float:
    """When a file, or the latest of a folder's files, was written last; in Unix seconds."""
    try:
        return max(one.stat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()
