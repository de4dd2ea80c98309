"""What crashes leave on disk: incomplete uploads, and results without an upload or a job."""

import json
import logging
import shutil
import time
from pathlib import Path
from threading import Lock

from studio.storage.disk_uploads import RECORD
from studio.storage.folders import Folders, is_id, is_result
from studio.storage.orphans import ABANDONED_AFTER_S, HALF_MADE_AFTER_S, Choose
from studio.storage.results import ResultId

log = logging.getLogger(__name__)

# How many results are chosen from at once.
PART = 1000


class DiskOrphans:
    """Finds and deletes orphaned files. `lock` is held while results are moved. Thread-safe."""

    def __init__(self, folders: Folders, lock: Lock) -> None:
        self._folders = folders
        self._lock = lock

    def remove(self, now: float) -> None:
        for aside in (self._folders.incoming, self._folders.work):
            for path in aside.iterdir():
                if now - _changed_at(path) > ABANDONED_AFTER_S:
                    _delete(path)
        for path in self._folders.uploads.iterdir():
            if (
                is_id(path.name)
                and not _is_whole_upload(path)
                and now - _changed_at(path) > HALF_MADE_AFTER_S
            ):
                _delete(path)
        results = [path for path in self._folders.outputs.iterdir() if is_id(path.name)]
        if self._folders.is_empty():
            return
        for path in results:
            with self._lock:
                gone = None if self._folders.has(path.name) else self._set_aside(path)
            if gone is not None:
                log.info("deleting %s, whose upload does not exist", path)
                shutil.rmtree(gone, ignore_errors=True)

    def remove_results(self, choose: Choose, now: float) -> None:
        results = [
            ResultId(path.parent.name, path.name)
            for path in self._folders.outputs.glob("*/*")
            if is_id(path.parent.name) and is_result(path.name) and path.is_dir()
        ]
        for begin in range(0, len(results), PART):
            for result in choose(results[begin : begin + PART]):
                self._remove_result(result, now)

    def _remove_result(self, result: ResultId, now: float) -> None:
        """Delete a result atomically."""
        path = self._folders.result(result.file_id, result.name)
        if now - _changed_at(path) <= HALF_MADE_AFTER_S:
            return
        with self._lock:
            gone = self._set_aside(path)
        if gone is not None:
            log.info("deleting %s, which belongs to no job", path)
            shutil.rmtree(gone, ignore_errors=True)

    def _set_aside(self, path: Path) -> Path | None:
        """Rename results that are to be deleted; None if that failed."""
        gone = self._folders.new_work("gone")
        try:
            path.rename(gone)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("cannot delete %s: %s", path, error)
            return None
        return gone


def _delete(path: Path) -> None:
    log.info("deleting the orphaned %s", path)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_whole_upload(folder: Path) -> bool:
    try:
        json.loads((folder / RECORD).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        # The record is there, and an operator may make it readable again.
        return True
    return any(folder.glob("source.*"))


def _changed_at(path: Path) -> float:
    """The time of the last change to a file or to any file in a folder, in Unix seconds."""
    try:
        return max(one.stat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()
