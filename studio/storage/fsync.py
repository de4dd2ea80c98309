"""Flushes files and directory entries to disk, so that they survive a power failure."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Flush a folder, with all files and folders in it, before a rename makes it visible.

    After a power failure, a visible folder is then complete. The rename itself is flushed by
    `sync_names` of the target's parent.
    """
    for path in folder.iterdir():
        if path.is_dir():
            sync(path)
        else:
            sync_content(path)
    sync_names(folder)


def sync_content(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Flush the entries of a folder. Windows cannot open folders and flushes them itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
