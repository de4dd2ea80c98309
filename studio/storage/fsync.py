"""Brings files and their names to the disk, for what a power cut must not undo."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Bring a folder's files and their names to the disk, before a rename makes it visible.

    So a power cut cannot leave a visible half. The rename itself is on the disk once the folder
    that it moved to is (`sync_names`).
    """
    for path in folder.iterdir():
        sync_content(path)
    sync_names(folder)


def sync_content(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk. Windows opens no folders, and does it by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
