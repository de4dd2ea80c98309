"""What object storage needs of a table of uploads."""

from collections.abc import Mapping
from typing import Protocol

from studio.storage.files import Upload, Uploads


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
