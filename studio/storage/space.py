"""How much of the disk is used, and how much more may be."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from studio.errors import DiskFull, StorageUnavailable, StudioError

# Many writers ask how much is used; it is counted no more often than this.
MEASURE_EVERY_S = 1.0
PROBE_BYTES = 4096


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn errors of the operating system that `as_studio_error` knows into errors for callers."""
    try:
        yield
    except OSError as error:
        if known := as_studio_error(error):
            raise known from error
        raise


def as_studio_error(error: OSError) -> StudioError | None:
    """The error for callers when a disk cannot be written; None for other errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The server's disk is full. Free some space and try again.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
        return StorageUnavailable(
            f"The server's disk cannot be written ({error.strerror}). Try again later."
        )
    return None


class DiskSpace:
    """The bounds of two folders: bytes that stay free on their disks, and bytes that both may take
    together (`most_bytes`; 0 is no bound). Thread-safe."""

    def __init__(
        self,
        uploads: Path,
        outputs: Path,
        min_free_bytes: int,
        most_bytes: int,
        also_counted: tuple[Path, ...] = (),
    ) -> None:
        self._folders = (uploads, outputs)
        self._counted = (*self._folders, *also_counted)
        self._min_free_bytes = min_free_bytes
        self._most_bytes = most_bytes
        self._measured = (float("-inf"), 0)
        self._measuring = Lock()
        self._promised_bytes = 0
        self._promising = Lock()

    def check(self, needed_bytes: int = 0) -> None:
        """Raise DiskFull when `needed_bytes` more would leave too little free, or be too much."""
        free_bytes = self.free_bytes()
        if free_bytes - needed_bytes < self._min_free_bytes:
            raise DiskFull(
                f"The server has {free_bytes / 1e6:,.0f} MB of disk left, and "
                f"{(needed_bytes + self._min_free_bytes) / 1e6:,.0f} MB are needed. Delete files "
                "that are no longer wanted (DELETE /cleanup/<file_id>) and try again."
            )
        if self._most_bytes and self.used_bytes() + needed_bytes > self._most_bytes:
            raise DiskFull(
                f"Uploads, results and hub downloads take {self.used_bytes() / 1e6:,.0f} MB of the "
                f"{self._most_bytes / 1e6:,.0f} MB that they may, and {needed_bytes / 1e6:,.0f} MB "
                "more are needed. Delete files that are no longer wanted "
                "(DELETE /cleanup/<file_id>) and try again."
            )

    def check_writable(self) -> None:
        """Raise DiskFull or StorageUnavailable when a folder takes no more files.

        The bounds are not looked at: that clients have filled them keeps no answer from others.
        """
        for folder in self._folders:
            probe = folder / f".probe-{secrets.token_hex(8)}"
            with disk_errors():
                try:
                    probe.write_bytes(bytes(PROBE_BYTES))
                finally:
                    probe.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """What is left on the disk of the uploads or that of the results, the smaller of both."""
        return min(shutil.disk_usage(folder).free for folder in self._folders)

    def used_bytes(self) -> int:
        """What uploads and results take, also those on their way; at most a second old."""
        with self._measuring:
            measured_s, used_bytes = self._measured
            if time.monotonic() - measured_s > MEASURE_EVERY_S:
                used_bytes = size_bytes(*self._counted)
                self._measured = (time.monotonic(), used_bytes)
            return used_bytes

    @contextmanager
    def promise(self, needed_bytes: int) -> Iterator[None]:
        """Hold room for a file while it is made, so that many at once do not share the same room.

        What is written already counts twice until it ends: rather too much than too little.
        """
        with self._promising:
            self.check(self._promised_bytes + needed_bytes)
            self._promised_bytes += needed_bytes
        try:
            yield
        finally:
            with self._promising:
                self._promised_bytes -= needed_bytes

    def measure_anew(self) -> None:
        """Forget what was measured: a whole job's results have come since."""
        with self._measuring:
            self._measured = (float("-inf"), 0)

    def count(self, size_bytes: int) -> None:
        """Count a new file at once: many are made between one measurement and the next."""
        with self._measuring:
            measured_s, used_bytes = self._measured
            self._measured = (measured_s, used_bytes + size_bytes)


def size_bytes(*folders: Path) -> int:
    """Bytes of all files below some folders; a file with several names counts once."""
    total, linked = 0, set()
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    about = Path(path, name).lstat()
                except FileNotFoundError:
                    continue
                identity = (about.st_dev, about.st_ino)
                if about.st_nlink > 1 and identity in linked:
                    continue
                linked.add(identity)
                total += about.st_size
    return total
