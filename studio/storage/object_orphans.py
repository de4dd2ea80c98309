"""What crashes leave in a bucket: objects without a record or a job, and parts of uploads."""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

from studio.storage.bucket import Bucket
from studio.storage.bucket_owner import BucketOwner
from studio.storage.folders import Folders, is_id, is_result
from studio.storage.orphans import ABANDONED_AFTER_S, HALF_MADE_AFTER_S, Choose
from studio.storage.owner import Owner
from studio.storage.results import FileInfo, ResultId
from studio.storage.uploads import UploadRecords

log = logging.getLogger(__name__)

# How many objects are looked at together, at least; they belong to whole files.
PART = 1000

Objects = dict[str, FileInfo]
"""What a listing says about some objects, by key."""


class ObjectOrphans:
    """Finds and deletes orphaned objects, and local files of servers that no longer live.

    It lists a bucket once, in the order of the keys, and has the objects of some files in memory.
    """

    def __init__(
        self,
        bucket: Bucket,
        uploads: UploadRecords,
        bucket_owner: BucketOwner,
        owner: Owner,
        folders: Folders,
    ) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._bucket_owner = bucket_owner
        self._owner = owner
        self._folders = folders

    def remove(self, now: float) -> None:
        self._owner.clear_abandoned(self._folders.incoming, self._folders.work)
        if not self._bucket_owner.is_ours():
            return
        self._bucket.abort_uploads_before(now - ABANDONED_AFTER_S)
        if self._uploads.is_empty():
            return
        for files in self._files("uploads/"):
            # The objects have been listed before, so uploads added in the meantime have a record.
            known = self._uploads.existing(files)
            lost = [one for one in files if one not in known and is_id(one)]
            self._delete((files[one] for one in lost), now)

    def remove_results(self, choose: Choose, now: float) -> None:
        """The sizes of all results are counted on the way."""
        if not self._bucket_owner.is_ours():
            return
        last = ""
        for files in self._files("results/"):
            sizes = {
                file_id: sum(info.size_bytes for info in objects.values())
                for file_id, objects in files.items()
            }
            # Other names may be ordered in another way by the database.
            end = max(filter(is_id, files), default=last)
            self._uploads.set_result_bytes(sizes, last, end)
            last = end
            results = _results(files)
            self._delete((results[one] for one in choose(list(results))), now)
        self._uploads.set_result_bytes({}, last, None)

    def _files(self, prefix: str) -> Iterator[dict[str, Objects]]:
        """All objects, in batches of whole files, by the IDs of the files."""
        files: dict[str, Objects] = {}
        count = 0
        for file_id, objects in groupby(self._bucket.each(prefix), lambda one: _names(one[0])[1]):
            files[file_id] = dict(objects)
            count += len(files[file_id])
            if count >= PART:
                yield files
                files, count = {}, 0
        if files:
            yield files

    def _delete(self, folders: Iterable[Objects], now: float) -> None:
        """Delete the objects of folders in which nothing was written within the last hour."""
        keys = [
            key
            for objects in folders
            if now - _changed_at(objects.values()) > HALF_MADE_AFTER_S
            for key in objects
        ]
        if keys:
            log.info("deleting %d orphaned objects, such as %s", len(keys), keys[0])
            self._bucket.delete(keys)


def _results(files: dict[str, Objects]) -> dict[ResultId, Objects]:
    """The objects of each result of some files; those that are not the server's are left out."""
    results: dict[ResultId, Objects] = defaultdict(dict)
    for file_id, objects in files.items():
        for key, info in objects.items():
            _, _, name, *_ = [*_names(key), ""]
            if is_id(file_id) and is_result(name):
                results[ResultId(file_id, name)][key] = info
    return results


def _names(key: str) -> list[str]:
    return key.split("/", 3)


def _changed_at(infos: Collection[FileInfo]) -> float:
    return max((info.modified_at for info in infos), default=time.time())
