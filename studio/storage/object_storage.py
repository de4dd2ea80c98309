"""Uploads and results in a bucket, with local copies of what is read.

    uploads/<file_id>/source.<type>          the uploaded file; it exists if it has a record
    uploads/<file_id>/original.*             its waveform data and its MP3, made on demand
    results/<file_id>/<name>/                the results of one attempt of a job; they exist if the
                                             job has been completed by this attempt
    results/<file_id>/<name>/edited/         an edited version of a track, if there is one
    results/<file_id>/<name>/tagged/         formats that contain the name of the upload
    .owner                                   the name of the database that has the records

So nothing is ever renamed: a transaction of the database makes objects visible.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from studio.errors import StorageUnavailable, UnknownFile
from studio.storage.bucket import Bucket
from studio.storage.bucket_owner import BucketOwner
from studio.storage.cache import Cache
from studio.storage.folders import Folders
from studio.storage.object_orphans import ObjectOrphans
from studio.storage.results import FileInfo, ResultId
from studio.storage.space import DiskSpace, disk_errors
from studio.storage.storage import Storage
from studio.storage.uploads import Upload, UploadRecords

# How long to repeat a publication while the store does not respond.
PUBLISH_WITHIN_S = 3600.0
RETRY_S = 5.0
ADDRESS_EXPIRES_S = 300


class ObjectFile:
    """An object. `known` is what a listing says about it."""

    def __init__(self, storage: "ObjectStorage", key: str, known: FileInfo | None = None) -> None:
        self._storage = storage
        self._key = key
        self._known = known

    @property
    def path(self) -> Path:
        return self._storage.local(self._key)

    @property
    def remote(self) -> "ObjectFile":
        return self

    def info(self) -> FileInfo | None:
        return self._known or self._storage.bucket.info(self._key)

    def read(self, first: int, last: int) -> Generator[bytes, None, None]:
        return self._storage.bucket.read(self._key, first, last)

    def address(self, content_type: str) -> str | None:
        if not self._storage.has_proxy:
            return None
        return self._storage.bucket.presigned(self._key, content_type, ADDRESS_EXPIRES_S)


class ObjectResult:
    """The objects whose keys begin with `own`, and those of the result that it shares.

    Listed once, and again after `within`.
    """

    def __init__(self, storage: "ObjectStorage", own: str, shared: str = "") -> None:
        self._storage = storage
        self._own = own
        self._prefixes = [shared, own] if shared else [own]
        self._listed: dict[str, tuple[str, FileInfo]] | None = None

    def file(self, name: str) -> ObjectFile:
        key, info = self._files().get(name, (self._own + name, None))
        return ObjectFile(self._storage, key, info)

    def exists(self) -> bool:
        # A result with nothing but its own formats has lost the files that it shared.
        return bool(self._storage.bucket.infos(self._prefixes[0]))

    def infos(self) -> Mapping[str, FileInfo]:
        return {name: info for name, (_, info) in self._files().items()}

    def add(
        self, name: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]
    ) -> ObjectFile:
        if name not in self._files():
            self._storage.make(self._own + name, needed_bytes, make)
            self._listed = None
        return self.file(name)

    def within(self, folder: str) -> "ObjectResult":
        # The folder may be replaced at any time, so list anew afterwards.
        self._listed = None
        return ObjectResult(self._storage, self._own + folder) if folder else self

    def remove(self, folder: str) -> None:
        self._storage.delete(f"{self._own}{folder}/")
        self._listed = None

    def _files(self) -> dict[str, tuple[str, FileInfo]]:
        if self._listed is None:
            self._listed = {}
            for prefix in self._prefixes:
                for key, info in self._storage.bucket.infos(prefix).items():
                    name = key.removeprefix(prefix)
                    # Edited versions and formats with the name of the upload belong to one job.
                    if prefix == self._own or "/" not in name:
                        self._listed[name] = (key, info)
        return self._listed


@dataclass(frozen=True)
class ObjectSettings:
    """`cache_bytes` limits the local copies. With `has_proxy`, a proxy fetches downloads itself."""

    cache_bytes: int
    has_proxy: bool


class ObjectStorage(Storage):
    """All files of the servers that share a bucket and a database."""

    def __init__(
        self,
        bucket: Bucket,
        records: UploadRecords,
        folders: Folders,
        space: DiskSpace,
        *,
        settings: ObjectSettings,
        is_shared: Callable[[ResultId], bool],
    ) -> None:
        """`is_shared` says whether a job of another file has the files of a result."""
        super().__init__(folders, space, records)
        self.bucket = bucket
        self.has_proxy = settings.has_proxy
        self._records = records
        self._is_shared = is_shared
        self._cache = Cache(folders.new_work("cache"), settings.cache_bytes)
        space.reclaim_with(self._cache.evict)
        self._bucket_owner = BucketOwner(bucket, records, folders)
        self.orphans = ObjectOrphans(bucket, records, self._bucket_owner, self._owner, folders)

    def check_writable(self) -> None:
        super().check_writable()
        self.bucket.check()
        self._bucket_owner.check()

    def used_bytes_of(self, owner: str) -> int:
        return self._records.used_bytes(owner)

    def hold(self) -> AbstractContextManager[None]:
        return self._cache.hold()

    def _keep(self, upload: Upload, path: Path) -> Upload:
        self._bucket_owner.check()
        # Temporary uploads with the same ID have the same content.
        self.bucket.put(_source_key(upload), path)
        if not self._records.add(upload):
            return self.upload(upload.file_id)
        # It is the first local copy, unless the folders are on different disks.
        with suppress(OSError):
            self._cache.path(_source_key(upload), path.rename)
        path.unlink(missing_ok=True)
        return upload

    def source(self, upload: Upload) -> ObjectFile:
        return ObjectFile(self, _source_key(upload))

    def beside(self, upload: Upload) -> ObjectResult:
        return ObjectResult(self, f"uploads/{upload.file_id}/")

    def result(self, result: ResultId) -> ObjectResult:
        shared = f"results/{result.shares}/" if result.shares else ""
        return ObjectResult(self, f"results/{result.key}/", shared)

    def publish(
        self, work: Path, result: ResultId, go_on: Callable[[], None] = lambda: None
    ) -> None:
        ends_s = time.monotonic() + PUBLISH_WITHIN_S
        waiting = sorted(path for path in work.rglob("*") if path.is_file())
        size_bytes = sum(path.stat().st_size for path in waiting)
        while waiting:
            try:
                self.upload(result.file_id)
                name = waiting[0].relative_to(work).as_posix()
                self.bucket.put(f"results/{result.key}/{name}", waiting[0], go_on)
                waiting.pop(0)
            except StorageUnavailable:
                if time.monotonic() > ends_s:
                    raise
                go_on()
                time.sleep(RETRY_S)
        with suppress(StorageUnavailable):
            # Otherwise the next sweep counts them.
            self._records.add_result_bytes(result.file_id, size_bytes)

    def share(self, source: ResultId, target: ResultId, *, with_edits: bool) -> ResultId:
        if with_edits:
            own = f"results/{source.key}/"
            edits = self.bucket.infos(f"{own}edited/")
            for key in edits:
                self.bucket.copy(key, f"results/{target.key}/{key.removeprefix(own)}")
            self._records.add_result_bytes(target.file_id, _size_bytes(edits.values()))
        return replace(target, shares=source.shares or source.key)

    def discard_result(self, result: ResultId) -> None:
        self.delete(f"results/{result.key}/")

    def hide(self, file_id: str) -> Callable[[], None]:
        if not self._records.remove(file_id):
            self.upload(file_id)
        return partial(self._delete_objects, file_id)

    def _delete_objects(self, file_id: str) -> None:
        """The objects that cannot be deleted now are deleted by the next sweep."""
        prefix = f"uploads/{file_id}/"
        with suppress(StorageUnavailable):
            objects = self.bucket.infos(prefix)
            names = self.bucket.folders(f"results/{file_id}/")
            if self.has(file_id):
                # A temporary upload with the same content has arrived.
                return
            self.bucket.delete(objects)
            self._cache.forget(prefix)
            for name in names:
                result = ResultId(file_id, name)
                if not self._is_shared(result):
                    self.discard_result(result)

    def local(self, key: str) -> Path:
        """The local copy of an object. Raises FileNotFoundError."""
        return self._cache.path(key, partial(self._fetch, key))

    def _fetch(self, key: str, path: Path) -> None:
        info = self.bucket.info(key)
        if info is None:
            raise FileNotFoundError(key)
        with self._space.promise(info.size_bytes):
            self.bucket.fetch(key, path)
            self._space.count(info.size_bytes)

    def make(self, key: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]) -> None:
        """Store the object that `make(path)` writes, unless another server has stored it before."""
        self._on_demand.make(
            key,
            lambda: self.bucket.info(key) is not None,
            lambda: self._make(key, needed_bytes, make),
        )

    def _make(
        self, key: str, needed_bytes: Callable[[], int], make: Callable[[Path], None]
    ) -> None:
        unfinished = self._folders.new_work(key.rpartition("/")[2])
        try:
            with self._space.promise(needed_bytes()), disk_errors():
                make(unfinished)
                self.bucket.put_if_new(key, unfinished)
                self._count(key, unfinished.stat().st_size)
        except FileNotFoundError:
            raise UnknownFile("The file has been deleted.") from None
        finally:
            unfinished.unlink(missing_ok=True)

    def delete(self, prefix: str) -> None:
        """Delete all objects whose keys begin with `prefix`."""
        objects = self.bucket.infos(prefix)
        self.bucket.delete(objects)
        self._cache.forget(prefix)
        self._count(prefix, -_size_bytes(objects.values()))

    def _count(self, key: str, size_bytes: int) -> None:
        """Count objects that were stored or deleted; those beside an upload are not counted."""
        kind, file_id, _ = key.split("/", 2)
        if kind == "results":
            self._records.add_result_bytes(file_id, size_bytes)


def _size_bytes(infos: Iterable[FileInfo]) -> int:
    return sum(info.size_bytes for info in infos)


def _source_key(upload: Upload) -> str:
    return f"uploads/{upload.file_id}/source.{upload.file_type}"
