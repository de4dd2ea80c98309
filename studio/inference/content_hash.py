"""SHA-256 of weights files, computed once per version of a file.

A version is identified by path, size and modification time. The hash depends on the content only,
so the same weights have the same hash on every machine.
"""

import hashlib
from pathlib import Path
from threading import Lock

_lock = Lock()
_known: dict[tuple[str, int, int], str] = {}


def content_hash(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, cached until the file changes."""
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
    """The SHA-256 of a file in hexadecimal, computed now."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
