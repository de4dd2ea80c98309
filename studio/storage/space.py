"""Disk usage and its limits."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from studio.errors import DiskFull, StorageUnavailable, StudioError
from studio.storage.measured_size import MeasuredSize

# Minimum time between two measurements of the used space.
MEASURE_EVERY_S = 1.0
DELETE_FILES = "Delete files that you no longer need (DELETE /cleanup/<file_id>) and try again."
PROBE_BYTES = 4096
FULL = (errno.ENOSPC, errno.EDQUOT)
UNAVAILABLE = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    # The file server or the device cannot be reached.
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.ETIMEDOUT,
    errno.ENODEV,
    errno.ENXIO,
)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Convert OSErrors to errors for callers, as `as_studio_error` does."""
    try:
        yield
    except OSError as error:
        if known := as_studio_error(error):
            raise known from error
        raise


@contextmanager
def folder_errors() -> Iterator[None]:
    """As `disk_errors`, for the server's own folders: other OSErrors mean that one is missing."""
    try:
        with disk_errors():
            yield
    except OSError as error:
        raise _unavailable(error) from error


def as_studio_error(error: OSError) -> StudioError | None:
    """The error for callers if the disk cannot be written; None for other errors."""
    if error.errno in FULL:
        return DiskFull("The server's disk is full. Free some space and try again.")
    return _unavailable(error) if error.errno in UNAVAILABLE else None


def _unavailable(error: OSError) -> StorageUnavailable:
    return StorageUnavailable(
        f"The server's disk cannot be used ({error.strerror or error}). Try again later."
    )


def check_writable(probe: Path) -> None:
    """Raise DiskFull or StorageUnavailable if the file `probe` cannot be written.

    This ignores the limits: a server that is full for clients is still available.
    """
    with folder_errors():
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)


class DiskSpace:
    """Limits for two folders: free bytes to preserve on their disks, and their total size, with
    that of the folders `also_counted` (`max_bytes`; 0: no limit). Thread-safe."""

    def __init__(
        self,
        uploads: Path,
        outputs: Path,
        min_free_bytes: int = 0,
        max_bytes: int = 0,
        also_counted: tuple[Path, ...] = (),
    ) -> None:
        self._folders = (uploads, outputs)
        self._used = MeasuredSize((*self._folders, *also_counted), lambda: MEASURE_EVERY_S)
        self._evict: Callable[[int], int] = lambda _: 0
        self._min_free_bytes = min_free_bytes
        self._max_bytes = max_bytes
        self._promised_bytes = 0
        self._promising = Lock()

    def reclaim_with(self, evict: Callable[[int], int]) -> None:
        """Let `evict(missing_bytes)` delete files before anything is refused.

        It returns how many bytes it has deleted: as many, or none.
        """
        self._evict = evict

    def check(self, needed_bytes: int = 0) -> None:
        """Raise DiskFull if `needed_bytes` more would exceed a limit."""
        shortage = self._shortage(needed_bytes)
        if shortage is not None:
            self.count(-self._evict(shortage.missing_bytes))
            self.expire()
            shortage = self._shortage(needed_bytes)
        if shortage is not None:
            raise DiskFull(shortage.sentence)

    def _shortage(self, needed_bytes: int) -> "_Shortage | None":
        free_bytes = self.free_bytes()
        needed_free_bytes = needed_bytes + self._min_free_bytes
        if free_bytes < needed_free_bytes:
            return _Shortage(
                needed_free_bytes - free_bytes,
                f"The server has {free_bytes / 1e6:,.0f} MB of free disk space, but needs "
                f"{needed_free_bytes / 1e6:,.0f} MB. {DELETE_FILES}",
            )
        used_bytes = self.used_bytes() if self._max_bytes else 0
        if used_bytes + needed_bytes > self._max_bytes > 0:
            return _Shortage(
                used_bytes + needed_bytes - self._max_bytes,
                f"Uploads, results and hub downloads take {used_bytes / 1e6:,.0f} MB, the request "
                f"needs {needed_bytes / 1e6:,.0f} MB more, and the limit is "
                f"{self._max_bytes / 1e6:,.0f} MB. {DELETE_FILES}",
            )
        return None

    def free_bytes(self) -> int:
        """Free bytes on the disk of the uploads or of the results, whichever is less."""
        with folder_errors():
            return min(shutil.disk_usage(folder).free for folder in self._folders)

    def used_bytes(self) -> int:
        """Bytes used by uploads and results, including unfinished ones; see `MeasuredSize`."""
        return self._used.read()

    @contextmanager
    def promise(self, needed_bytes: int) -> Iterator[None]:
        """Reserve space for a file while it is made, so that several cannot claim the same space.

        Bytes already written count twice until it ends, which errs on the safe side.
        """
        with self._promising:
            self.check(self._promised_bytes + needed_bytes)
            self._promised_bytes += needed_bytes
        try:
            yield
        finally:
            with self._promising:
                self._promised_bytes -= needed_bytes

    def expire(self) -> None:
        """Measure the used space again, because the results of a job were added."""
        self._used.expire()

    def count(self, size_bytes: int) -> None:
        """Count a new file, or a deleted one with a negative size, until the next measurement."""
        self._used.count(size_bytes)


@dataclass(frozen=True)
class _Shortage:
    """How many bytes are missing, and the sentence that says so."""

    missing_bytes: int
    sentence: str
