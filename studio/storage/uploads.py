"""Uploads and their records."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from studio.errors import StorageUnavailable, UnknownFile


@dataclass(frozen=True)
class SoundInfo:
    """Duration in seconds, sample rate in Hz, and channel count of an upload.

    `note` is a remark for the uploader, if any.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    note: str | None = None


@dataclass(frozen=True)
class Upload:
    """An uploaded file. `sound` is None for text, `owner` is None if the server had no API keys.

    `created_at` is in Unix seconds. A temporary upload is deleted soon after its last use.
    """

    file_id: str
    filename: str
    file_type: str
    size_bytes: int
    sha256: str
    sound: SoundInfo | None
    owner: str | None = None
    created_at: float = 0.0
    is_temporary: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Upload":
        """The upload with these fields, as `asdict` gives them."""
        sound = SoundInfo(**record["sound"]) if record["sound"] else None
        return cls(**{**record, "sound": sound})


Entry = tuple[float, str]
"""When an upload arrived (Unix seconds), and its ID."""


class Uploads(Protocol):
    """The records of all uploads. An upload exists if it has a record."""

    def read(self, file_id: str) -> Upload:
        """The upload with this ID. Raises UnknownFile, UnreadableRecord or StorageUnavailable."""

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""

    def of_owner(self, owner: str) -> list[Entry]:
        """The uploads of an owner, newest first, without temporary ones."""

    def existing(self, file_ids: Collection[str]) -> set[str]:
        """The IDs that belong to uploads."""

    def is_empty(self) -> bool:
        """Whether there are no uploads."""

    def arrived_before(self, at: float, temporary_at: float) -> list[str]:
        """The IDs of uploads that arrived before `at`, in Unix seconds; may include others.

        `temporary_at` applies to temporary uploads.
        """

    def touch(self, file_id: str) -> None:
        """Record that an upload was used. Raises UnknownFile."""

    def used_at(self, file_id: str) -> float:
        """When an upload arrived or was last touched, in Unix seconds. Raises UnknownFile."""


class UploadRecords(Uploads, Protocol):
    """Records of uploads that are stored apart from them."""

    def installation_id(self) -> str:
        """A name that no other table of uploads has."""

    def add(self, upload: Upload) -> bool:
        """Returns False if there is one with this ID."""

    def remove(self, file_id: str) -> bool:
        """Returns False if there is none with this ID."""

    def used_bytes(self, owner: str) -> int:
        """The size of the uploads of an owner and of their results."""

    def add_result_bytes(self, file_id: str, size_bytes: int) -> None:
        """Count results that were stored, or with a negative size, deleted."""

    def set_result_bytes(self, sizes: Mapping[str, int], after: str, to: str | None) -> None:
        """Correct the sizes of the results of the uploads with IDs from `after` to `to`.

        `sizes` has those that are not 0. `after` is exclusive; `to` None means no upper bound.
        """


class UnreadableRecord(StorageUnavailable):
    """The record of one upload cannot be read. Those of others can, so lists leave it out."""


@contextmanager
def record_errors(file_id: str) -> Iterator[None]:
    """Convert errors in reading a record, which may be that of a newer version, for callers."""
    try:
        yield
    except FileNotFoundError:
        raise unknown_file(file_id) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableRecord(
            f"The record of the file {file_id!r} cannot be read ({type(error).__name__})."
        ) from error


def unknown_file(file_id: str) -> UnknownFile:
    return UnknownFile(
        f"The file {file_id!r} does not exist. Upload it first (POST /upload) and use the "
        "file_id in the response."
    )
