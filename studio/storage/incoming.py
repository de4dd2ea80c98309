"""An upload while it arrives."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from studio.storage.space import disk_errors, folder_errors


class IncomingFile:
    """An upload in progress: a writable binary stream that hashes and counts.

    Writing raises DiskFull if less than the configured space would remain.
    """

    def __init__(self, path: Path, check_space: Callable[[], None]) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._check_space = check_space
        self._next_check_bytes = 0
        with folder_errors():
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
        raise OSError("an upload can be read only once it is complete")

    def close(self) -> None:
        with disk_errors():
            self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
