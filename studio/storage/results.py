"""Results, and what every storage says about a file."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class FileInfo:
    """The size of a stored file, and when it was written, in Unix seconds.

    `etag` identifies its content, if the storage says so.
    """

    size_bytes: int
    modified_at: float
    etag: str = ""


class RemoteFile(Protocol):
    """A file that is on another machine."""

    def read(self, first: int, last: int) -> Generator[bytes, None, None]:
        """The bytes from `first` to `last`, both included. Raises FileNotFoundError."""

    def address(self, content_type: str) -> str | None:
        """A URL from which a proxy may fetch the file; None if the server has to send it."""


class StoredFile(Protocol):
    """A file of an upload or of a result, which may not exist."""

    @property
    def path(self) -> Path:
        """The file on the local disk. It stays there until the current `Storage.hold` ends."""

    @property
    def remote(self) -> RemoteFile | None:
        """How to read the file where it is; None if it is on the local disk."""

    def info(self) -> FileInfo | None:
        """None if the file does not exist."""


@dataclass(frozen=True)
class ResultId:
    """Identifies the files of a result: the folder `name` of a file.

    It also has the files of the result `shares` (`file_id/name`), if that is not empty.
    """

    file_id: str
    name: str
    shares: str = ""

    @property
    def key(self) -> str:
        return f"{self.file_id}/{self.name}"


class ResultFolder(Protocol):
    """The files of one result, or those made from an upload, by name.

    The names of files in an inner folder contain a slash.
    """

    def file(self, name: str) -> StoredFile: ...

    def exists(self) -> bool: ...

    def infos(self) -> Mapping[str, FileInfo]:
        """All files, by name."""

    def add(
        self, name: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]
    ) -> StoredFile:
        """The file `name`, made by `make(path)` if it does not exist.

        It takes at most `needed_bytes()`. Raises DiskFull if there is not enough space, and the
        errors of `OnDemand.make`.
        """

    def within(self, folder: str) -> "ResultFolder":
        """The files of an inner folder, which ends with a slash; empty: these files.

        On disk, nothing can be added to a folder that was deleted.
        """

    def remove(self, folder: str) -> None:
        """Delete an inner folder, if it exists."""


def remove_oldest(result: ResultFolder, folder: str, newest: str, max_kept: int) -> None:
    """Keep `max_kept` inner folders: the one named `newest`, and the latest others.

    `folder` ends with a slash.
    """
    times: dict[str, float] = {}
    for name, info in result.infos().items():
        if name.startswith(folder):
            inner = name.removeprefix(folder).split("/")[0]
            times[inner] = max(info.modified_at, times.get(inner, 0.0))
    times.pop(newest, None)
    for inner in sorted(times, key=lambda one: -times[one])[max_kept - 1 :]:
        result.remove(f"{folder}{inner}")
