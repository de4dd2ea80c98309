"""The total size of folders, measured seldom enough to cost little."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

# Measuring walks all files, 0.3 s for a thousand results. If it takes longer than CHEAP_S, the next
# one waits for a multiple of that time, a smaller one once files were added or deleted.
CHEAP_S = 0.1
REST_FACTOR, REST_FACTOR_EXPIRED = 20, 4


class MeasuredSize:
    """The total size of the files in some folders. Thread-safe.

    `min_age_s()` is how long a measurement is used at least.
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
        """The size in bytes. While it is measured again, others get the earlier one."""
        with self._lock:
            is_due = time.monotonic() >= self._due_s
            is_known = self._measured_bytes is not None
        if is_due and self._walking.acquire(blocking=not is_known):
            try:
                self._measure()
            finally:
                self._walking.release()
        with self._lock:
            return (self._measured_bytes or 0) + self._counted_bytes

    def count(self, size_bytes: int) -> None:
        """Count a new file, or with a negative size a deleted one, until the next measurement."""
        with self._lock:
            self._counted_bytes += size_bytes

    def expire(self) -> None:
        """Measure again soon, because files were added or deleted."""
        with self._lock:
            self._is_expired = True
            self._due_s = min(self._due_s, self._measured_s + REST_FACTOR_EXPIRED * self._rest_s)

    def _measure(self) -> None:
        with self._lock:
            if time.monotonic() < self._due_s:
                return
            counted_bytes = self._counted_bytes
            self._is_expired = False
        began_s = time.monotonic()
        measured_bytes = size_bytes(*self._folders)
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


def size_bytes(*folders: Path) -> int:
    """Total size of the files in some folders; hard links count once."""
    total, linked = 0, set()
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    about = Path(path, name).lstat()
                except FileNotFoundError:
                    continue
                identity = (about.st_dev, about.st_ino)
                if about.st_nlink > 1 and identity in linked:
                    continue
                linked.add(identity)
                total += about.st_size
    return total
