"""The files of uploads and results on disk."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.storage.results import FileInfo


@dataclass(frozen=True)
class DiskFile:
    path: Path

    @property
    def remote(self) -> None:
        return None

    def info(self) -> FileInfo | None:
        try:
            about = self.path.stat()
        except FileNotFoundError:
            return None
        return FileInfo(about.st_size, about.st_mtime)


class DiskResult:
    """The files of a result or those beside an upload, in a folder."""

    def __init__(
        self,
        path: Path,
        make: Callable[[Path, str, Callable[[], int], Callable[[Path], None]], None],
    ) -> None:
        """`make(path, name, needed_bytes, write)` makes a file that does not exist."""
        self.path = path
        self._make = make

    def file(self, name: str) -> DiskFile:
        return DiskFile(self.path / name)

    def exists(self) -> bool:
        return self.path.is_dir()

    def infos(self) -> Mapping[str, FileInfo]:
        return {
            path.relative_to(self.path).as_posix(): info
            for path in _files(self.path)
            if (info := DiskFile(path).info()) is not None
        }

    def add(
        self, name: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]
    ) -> DiskFile:
        if not (self.path / name).exists():
            self._make(self.path, name, needed_bytes, make)
        return self.file(name)

    def within(self, folder: str) -> "DiskResult":
        return DiskResult(self.path / folder, self._make)

    def remove(self, folder: str) -> None:
        shutil.rmtree(self.path / folder, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder and in its inner folders; none if it was deleted."""
    try:
        for path in folder.iterdir():
            if path.is_dir():
                yield from _files(path)
            else:
                yield path
    except FileNotFoundError:
        return
