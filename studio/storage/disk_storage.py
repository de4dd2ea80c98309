"""Uploads and results on disk. Everything visible is complete, because it appears by rename."""

import errno
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath
from threading import Lock

from studio.errors import UnknownFile
from studio.inference.content_hash import content_hash
from studio.storage.disk_orphans import DiskOrphans
from studio.storage.disk_results import DiskFile, DiskResult
from studio.storage.disk_uploads import DiskUploads
from studio.storage.folders import Folders
from studio.storage.fsync import sync, sync_content, sync_names
from studio.storage.measured_size import size_bytes
from studio.storage.results import ResultId
from studio.storage.space import DiskSpace, disk_errors
from studio.storage.storage import Storage
from studio.storage.uploads import SoundInfo, UnreadableRecord, Upload


class DiskStorage(Storage):
    """All files of the server, in two folders."""

    def __init__(self, folders: Folders, space: DiskSpace) -> None:
        self._records = DiskUploads(folders)
        super().__init__(folders, space, self._records)
        self._lock = Lock()
        self.orphans = DiskOrphans(folders, self._lock)

    def used_bytes_of(self, owner: str) -> int:
        folders = []
        for file_id in self.file_ids():
            try:
                if self.upload(file_id).owner == owner:
                    folders += [self._folders.uploads / file_id, self._folders.outputs / file_id]
            except (UnknownFile, UnreadableRecord):
                continue
        return size_bytes(*folders)

    def _keep(self, upload: Upload, path: Path) -> Upload:
        folder = self._folders.new_incoming()
        try:
            with disk_errors():
                folder.mkdir()
                self._records.write(folder, upload)
                path.rename(folder / f"source.{upload.file_type}")
                sync(folder)
                if not self._make_visible(folder, upload.file_id):
                    return self.upload(upload.file_id)
                self._space.count(size_bytes(self._folders.uploads / upload.file_id))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return upload

    def _make_visible(self, folder: Path, file_id: str) -> bool:
        """Rename a complete upload to its ID. Returns False if there is one with this ID."""
        try:
            folder.rename(self._folders.uploads / file_id)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        sync_names(self._folders.uploads)
        return True

    def refer(self, path: Path, file_type: str, sound: SoundInfo | None) -> Upload:
        """Make a file of the user visible as an upload: a link to it, or a copy without links."""
        upload = Upload(
            secrets.token_hex(16),
            path.name,
            file_type,
            path.stat().st_size,
            content_hash(path),
            sound,
            created_at=time.time(),
        )
        folder = self._folders.uploads / upload.file_id
        with disk_errors():
            folder.mkdir()
            self._records.write(folder, upload)
            source = folder / f"source.{file_type}"
            try:
                source.symlink_to(path.absolute())
            except OSError:
                shutil.copy2(path, source)
        return upload

    def source(self, upload: Upload) -> DiskFile:
        return DiskFile(self._folders.uploads / upload.file_id / f"source.{upload.file_type}")

    def beside(self, upload: Upload) -> DiskResult:
        return DiskResult(self._folders.uploads / upload.file_id, self._add)

    def result(self, result: ResultId) -> DiskResult:
        return DiskResult(self._folders.result(result.file_id, result.name), self._add)

    def publish(
        self, work: Path, result: ResultId, go_on: Callable[[], None] = lambda: None
    ) -> None:
        target = self._folders.result(result.file_id, result.name)
        replaced = self._folders.new_work("gone")
        with disk_errors():
            # It may take long, and deletions wait for the lock.
            sync(work)
            with self._lock:
                self.upload(result.file_id)
                target.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    target.rename(replaced)
                work.rename(target)
                sync_names(target.parent)
                # The first result of a file creates its folder.
                sync_names(self._folders.outputs)
        shutil.rmtree(replaced, ignore_errors=True)
        self._space.count(size_bytes(target))
        self._space.expire()

    def discard_result(self, result: ResultId) -> None:
        self._delete(self._folders.result(result.file_id, result.name))

    def share(self, source: ResultId, target: ResultId, *, with_edits: bool) -> ResultId:
        with self.work(target.name) as work:
            folder = self._folders.result(source.file_id, source.name)
            self._share(folder, work, with_edits=with_edits)
            self.publish(work, target)
        return target

    def _share(self, source_folder: Path, work: Path, *, with_edits: bool) -> None:
        with disk_errors():
            for path in source_folder.iterdir():
                if not path.is_dir():
                    self.link(path, work / path.name)
                elif with_edits:
                    target = work / path.name
                    target.mkdir()
                    self._share(path, target, with_edits=True)

    def _add(
        self,
        folder: Path,
        name: str,
        needed_bytes: Callable[[], int],
        make: Callable[[Path], None],
    ) -> None:
        target = folder / name
        self._on_demand.make(
            str(target), target.exists, lambda: self._make(folder, name, needed_bytes, make)
        )

    def _make(
        self,
        folder: Path,
        name: str,
        needed_bytes: Callable[[], int],
        make: Callable[[Path], None],
    ) -> None:
        """Make a file in `folder`, which may have been deleted while the request waited."""
        target = folder / name
        unfinished = self._folders.unfinished(target)
        try:
            _check_exists(folder)
            with self._space.promise(needed_bytes()), disk_errors():
                make(unfinished)
                size_bytes = unfinished.stat().st_size
                sync_content(unfinished)
                _make_folders(folder, name)
                unfinished.rename(target)
                sync_names(target.parent)
                self._space.count(size_bytes)
        except Exception:
            _check_exists(folder)
            raise
        finally:
            unfinished.unlink(missing_ok=True)

    def _delete(self, folder: Path) -> None:
        # Before, so that a measurement meanwhile errs on the safe side.
        self._space.count(-size_bytes(folder, only_unshared=True))
        shutil.rmtree(folder, ignore_errors=True)

    def hide(self, file_id: str) -> Callable[[], None]:
        self.upload(file_id)
        hidden = self._folders.new_incoming(), self._folders.new_work("gone")
        with self._lock:
            for folder, aside in zip(
                (self._folders.uploads, self._folders.outputs), hidden, strict=True
            ):
                with suppress(FileNotFoundError):
                    (folder / file_id).rename(aside)

        def delete() -> None:
            for aside in hidden:
                self._delete(aside)

        return delete


def _check_exists(folder: Path) -> None:
    if not folder.is_dir():
        raise UnknownFile("The file has been deleted.") from None


def _make_folders(folder: Path, name: str) -> None:
    """Make the inner folders of a file, but not `folder` itself, which may have been deleted."""
    for inner in [*PurePath(name).parents][-2::-1]:
        (folder / inner).mkdir(exist_ok=True)
