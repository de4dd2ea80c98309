"""The total size of folders, measured seldom enough to cost little."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

# Measuring walks all files, 0.3 s for a thousand results. If it takes longer than CHEAP_S, the next
# one waits for a multiple of that time, a smaller one once files were added or deleted.
CHEAP_S = 0.1
REST_FACTOR, REST_FACTOR_EXPIRED = 20, 4


class MeasuredSize:
    """The total size of the files in some folders. Thread-safe.

    `min_age_s()` is how long a measurement is used at least. A costly one runs on its own thread,
    and the earlier size is used meanwhile.
    """

    def __init__(self, folders: tuple[Path, ...], min_age_s: Callable[[], float]) -> None:
        self._folders = folders
        self._min_age_s = min_age_s
        self._measured_bytes: int | None = None
        self._measured_s = self._due_s = float("-inf")
        self._rest_s = 0.0
        self._is_expired = False
        self._counted_bytes = 0
        # Held while the folders are walked, and while a field is used.
        self._walking, self._lock = Lock(), Lock()

    def read(self) -> int:
        """The size in bytes."""
        with self._lock:
            is_due = time.monotonic() >= self._due_s
            is_known, is_costly = self._measured_bytes is not None, self._rest_s > 0
        is_mine = is_due and self._walking.acquire(blocking=not is_known)
        if is_mine and not (is_costly and _starts(self._measure)):
            self._measure()
        with self._lock:
            return (self._measured_bytes or 0) + self._counted_bytes

    def count(self, size_bytes: int) -> None:
        """Count a new file, or with a negative size a deleted one, until the next measurement.

        Deletions during a measurement are left to the next one: it may have missed the files.
        """
        with self._lock:
            if size_bytes > 0 or not self._walking.locked():
                self._counted_bytes += size_bytes

    def expire(self) -> None:
        """Measure again soon, because files were added or deleted."""
        with self._lock:
            self._is_expired = True
            self._due_s = min(self._due_s, self._measured_s + REST_FACTOR_EXPIRED * self._rest_s)

    def _measure(self) -> None:
        """Measure unless another thread has just done so; `_walking` is held, and released."""
        try:
            with self._lock:
                if time.monotonic() < self._due_s:
                    return
                counted_bytes = self._counted_bytes
                self._is_expired = False
            began_s = time.monotonic()
            self._note(size_bytes(*self._folders), counted_bytes, began_s)
        finally:
            self._walking.release()

    def _note(self, measured_bytes: int, counted_bytes: int, began_s: float) -> None:
        with self._lock:
            self._measured_s = time.monotonic()
            took_s = self._measured_s - began_s
            self._rest_s = took_s if took_s > CHEAP_S else 0.0
            factor = REST_FACTOR_EXPIRED if self._is_expired else REST_FACTOR
            min_age_s = 0.0 if self._is_expired else self._min_age_s()
            self._due_s = self._measured_s + max(min_age_s, factor * self._rest_s)
            self._measured_bytes = measured_bytes
            # Files that were counted during the walk may count twice, which errs on the safe side.
            self._counted_bytes -= counted_bytes


def _starts(measure: Callable[[], None]) -> bool:
    """Whether `measure` could be started on its own thread."""
    try:
        Thread(target=measure, name="disk-usage", daemon=True).start()
    except RuntimeError:
        return False
    return True


def size_bytes(*folders: Path, only_unshared: bool = False) -> int:
    """Total size of the files in some folders; hard links count once.

    `only_unshared` leaves out files with other hard links, which deleting them would not free.
    """
    total, linked = 0, set()
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    about = Path(path, name).lstat()
                except FileNotFoundError:
                    continue
                identity = (about.st_dev, about.st_ino)
                if about.st_nlink > 1 and (only_unshared or identity in linked):
                    continue
                linked.add(identity)
                total += about.st_size
    return total
