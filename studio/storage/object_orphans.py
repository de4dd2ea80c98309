"""What crashes leave in a bucket: objects without a record or a job, and parts of uploads."""

import logging
import time
from collections import Counter
from collections.abc import Iterable

from studio.storage.bucket import Bucket
from studio.storage.files import ABANDONED_AFTER_S, HALF_MADE_AFTER_S, FileInfo, ResultId
from studio.storage.folders import Folders, is_id
from studio.storage.owner import Owner
from studio.storage.upload_records import UploadRecords

log = logging.getLogger(__name__)


class ObjectOrphans:
    """Finds and deletes orphaned objects, and local files of servers that no longer live."""

    def __init__(
        self, bucket: Bucket, uploads: UploadRecords, owner: Owner, folders: Folders
    ) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._owner = owner
        self._folders = folders

    def remove(self, now: float) -> None:
        self._owner.clear_abandoned(self._folders.incoming, self._folders.work)
        self._bucket.abort_uploads_before(now - ABANDONED_AFTER_S)
        # List the objects first, so that uploads added in the meantime have a record.
        found = [name for name in self._bucket.folders("uploads/") if is_id(name)]
        known = set(self._uploads.file_ids())
        if not known:
            return
        for file_id in found:
            if file_id not in known:
                self._delete(f"uploads/{file_id}/", now)

    def results(self) -> list[ResultId]:
        """All results; their sizes are counted on the way."""
        found: set[tuple[str, str]] = set()
        sizes: Counter[str] = Counter()
        for key, info in self._bucket.each("results/"):
            _, file_id, name, _ = key.split("/", 3)
            found.add((file_id, name))
            sizes[file_id] += info.size_bytes
        self._uploads.set_result_bytes(sizes)
        return [ResultId(*one) for one in sorted(found)]

    def remove_result(self, result: ResultId, now: float) -> None:
        self._delete(f"results/{result.key}/", now)

    def _delete(self, prefix: str, now: float) -> None:
        objects = self._bucket.infos(prefix)
        if now - _changed_at(objects.values()) > HALF_MADE_AFTER_S:
            log.info("deleting the orphaned objects %s", prefix)
            self._bucket.delete(objects)


def _changed_at(infos: Iterable[FileInfo]) -> float:
    return max((info.modified_at for info in infos), default=time.time())
