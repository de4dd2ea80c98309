"""Which database has the records of the objects in a bucket.

An object names it. A server with another database, such as a copy with the same `.env`, has no
records of the objects and would take all of them for orphans.
"""

import logging
from itertools import islice

from studio.errors import StorageUnavailable
from studio.storage.bucket import Bucket
from studio.storage.folders import Folders
from studio.storage.space import disk_errors
from studio.storage.uploads import UploadRecords

log = logging.getLogger(__name__)

OWNER = ".owner"
MAX_OWNER_BYTES = 100
# How many objects show whose they are if no object says it.
SAMPLE = 1000
FOREIGN = (
    "The object store holds the files of another database. The operator has to correct STORAGE_URL "
    "or DATABASE_URL."
)

UNKNOWN = (
    "The database has no record of most uploads in the object store, so it may be the wrong one. "
    "Correct STORAGE_URL or DATABASE_URL."
)


class BucketOwner:
    """Compares the database with the one that a bucket belongs to. Thread-safe."""

    def __init__(self, bucket: Bucket, uploads: UploadRecords, folders: Folders) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._folders = folders
        self._is_known = False

    def check(self) -> None:
        """Raise StorageUnavailable if the bucket belongs to another database."""
        if self._is_known:
            return
        owner, own = self._owner(), self._uploads.installation_id()
        if owner not in (None, own):
            raise StorageUnavailable(FOREIGN)
        self._is_known = owner == own

    def is_ours(self) -> bool:
        """Whether objects without a record may be deleted; logs why not."""
        owner = self._owner()
        if owner == self._uploads.installation_id():
            return True
        log.error("orphaned objects are not deleted: %s", UNKNOWN if owner is None else FOREIGN)
        return False

    def _owner(self) -> str | None:
        """The name of the database, which is this one if nothing contradicts it; or None."""
        owner = self._read()
        if owner is None and self._seems_ours():
            self._write()
            # Another server may have written it first.
            owner = self._read()
        return owner

    def _read(self) -> str | None:
        try:
            content = b"".join(self._bucket.read(OWNER, 0, MAX_OWNER_BYTES - 1))
        except FileNotFoundError:
            return None
        return content.decode("ascii", errors="replace")

    def _seems_ours(self) -> bool:
        """Whether the bucket has no uploads, or most of the first ones have a record."""
        keys = [key for key, _ in islice(self._bucket.each("uploads/"), SAMPLE)]
        file_ids = {key.split("/")[1] for key in keys}
        return len(file_ids) < 2 * len(self._uploads.existing(file_ids)) or not file_ids

    def _write(self) -> None:
        path = self._folders.new_work("owner")
        try:
            with disk_errors():
                path.write_text(self._uploads.installation_id(), "ascii")
            self._bucket.put_if_new(OWNER, path)
        finally:
            path.unlink(missing_ok=True)
