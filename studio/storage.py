"""Uploads and results on disk. Whatever is visible is whole: it appears by rename, or not at all.

uploads/<file_id>/source.<type>        what was sent
uploads/<file_id>/upload.json          its name, size, hash and sound properties
uploads/.incoming/                     uploads on their way
outputs/<file_id>/<job_id>/            the results of one completed job
outputs/.work/                         results on their way
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import IO

from studio.errors import DiskFull, UnknownFile

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Sound:
    """Duration in seconds, sample rate in Hz, and channel count of an upload."""

    duration_s: float
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True)
class Upload:
    """One uploaded file. `sound` is None for text."""

    file_id: str
    filename: str
    file_type: str
    size_bytes: int
    sha256: str
    sound: Sound | None


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


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn "no space left" of the operating system into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("The server's disk is full. Free some space and try again.") from error
        raise


class Storage:
    """All files of the server. Thread-safe."""

    def __init__(self, uploads: Path, outputs: Path, min_free_bytes: int) -> None:
        self._uploads = uploads
        self._outputs = outputs
        self._incoming = uploads / ".incoming"
        self._work = outputs / ".work"
        self._min_free_bytes = min_free_bytes
        self._lock = Lock()

    def open(self) -> None:
        """Create the folders and remove what a crash left half-done."""
        for folder in (self._incoming, self._work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for path in self._outputs.glob("[0-9a-f]" * 32 + "/*/.*"):
            path.unlink()

    def check_space(self, needed_bytes: int = 0) -> None:
        """Raise DiskFull when `needed_bytes` more would leave too little free."""
        free_bytes = min(
            shutil.disk_usage(self._uploads).free, shutil.disk_usage(self._outputs).free
        )
        if free_bytes - needed_bytes < self._min_free_bytes:
            raise DiskFull(
                f"The server has {free_bytes / 1e6:,.0f} MB of disk left, and "
                f"{(needed_bytes + self._min_free_bytes) / 1e6:,.0f} MB are needed. Delete files "
                "that are no longer wanted (DELETE /cleanup/<file_id>) and try again."
            )

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
        self, incoming: IncomingFile, filename: str, file_type: str, sound: Sound | None
    ) -> Upload:
        """Make a complete upload visible under a new id."""
        incoming.close()
        file_id = secrets.token_hex(16)
        upload = Upload(file_id, filename, file_type, incoming.size_bytes, incoming.sha256, sound)
        folder = self._incoming / file_id
        try:
            with disk_errors():
                folder.mkdir()
                (folder / "upload.json").write_text(json.dumps(asdict(upload)), encoding="utf-8")
                incoming.path.rename(folder / f"source.{file_type}")
                _sync(folder)
                folder.rename(self._uploads / file_id)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return upload

    def upload(self, file_id: str) -> Upload:
        """Raise UnknownFile when there is no such upload."""
        if _ID.fullmatch(file_id):
            try:
                data = json.loads((self._uploads / file_id / "upload.json").read_text("utf-8"))
            except FileNotFoundError:
                pass
            else:
                sound = Sound(**data.pop("sound")) if data["sound"] else None
                return Upload(**{**data, "sound": sound})
        raise UnknownFile(
            f"There is no file {file_id!r}. Upload it first (POST /upload) and use the file_id "
            "of the answer."
        )

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
                _sync(work)
                target.parent.mkdir(exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)

    def discard_result(self, file_id: str, job_id: str) -> None:
        """Remove the results of one job, if there are any."""
        shutil.rmtree(self.result(file_id, job_id), ignore_errors=True)

    def share(self, source_folder: Path, work: Path) -> None:
        """Fill a work folder with the files of another result, as hard links where possible."""
        with disk_errors():
            for path in source_folder.iterdir():
                if path.name.startswith("."):
                    continue
                try:
                    os.link(path, work / path.name)
                except OSError:
                    shutil.copy2(path, work / path.name)

    def add(self, folder: Path, name: str, make: Callable[[Path], None]) -> Path:
        """The file `name` of a result folder; made first by `make(path)` when it is not there."""
        target = folder / name
        if target.exists():
            return target
        unfinished = folder / f".{secrets.token_hex(8)}-{name}"
        try:
            with disk_errors():
                make(unfinished)
                unfinished.rename(target)
        except Exception:
            if not folder.is_dir():
                raise UnknownFile("The file was removed in the meantime.") from None
            raise
        finally:
            unfinished.unlink(missing_ok=True)
        return target

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


def _sync(folder: Path) -> None:
    """Bring a folder's files to the disk, so that a power cut cannot leave a visible half."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
