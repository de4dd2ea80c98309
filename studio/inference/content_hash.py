"""SHA-256 of weights files, computed once for each version of a file.

A version is a path, a size and a modification time. The hash itself depends on the content alone,
so the same weights have the same hash on every machine.
"""

import hashlib
from pathlib import Path
from threading import Lock

_lock = Lock()
_known: dict[tuple[str, int, int], str] = {}


def content_hash(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits; remembered until the file changes."""
    status = path.stat()
    version = (str(path.absolute()), status.st_size, status.st_mtime_ns)
    with _lock:
        known = _known.get(version)
    if known is None:
        known = read_hash(path)
        with _lock:
            _known[version] = known
    return known


def read_hash(path: Path) -> str:
    """SHA-256 of a file as it is on the disk now, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
