"""Which server owns a file in progress, and whether that server still lives."""

import logging
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


class Owner:
    """Holds a lock on `locks/<server>` while the server lives; the system releases it on a crash.

    The names of a server's files in progress begin with its own name and a hyphen.
    """

    def __init__(self, locks: Path, server: str) -> None:
        self._locks = locks
        self._lock = FileLock(locks / server)

    def claim(self) -> None:
        self._locks.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def clear_abandoned(self, *folders: Path) -> None:
        """Delete what servers that no longer live have left in the folders."""
        # List the files first: the server of each has taken its lock before.
        paths = [path for folder in folders for path in folder.iterdir()]
        living = self._living()
        for path in paths:
            if path.name.partition("-")[0] not in living:
                log.info("deleting %s, which its server has left unfinished", path)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def _living(self) -> set[str]:
        """The names of the servers that live. Deletes the locks of others."""
        living = {Path(self._lock.lock_file).name}
        for path in self._locks.iterdir():
            if path.name in living:
                continue
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                living.add(path.name)
                continue
            path.unlink(missing_ok=True)
            lock.release()
        return living
