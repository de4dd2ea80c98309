"""A storage on disk for a test."""

from pathlib import Path

from studio.storage.disk import DiskStorage
from studio.storage.folders import Folders
from studio.storage.space import DiskSpace


def disk_storage(
    uploads: Path, outputs: Path, min_free_bytes: int = 0, max_bytes: int = 0
) -> DiskStorage:
    space = DiskSpace(uploads, outputs, min_free_bytes, max_bytes)
    return DiskStorage(Folders(uploads, outputs), space)
