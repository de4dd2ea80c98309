"""What running jobs have produced so far, such as the segments of a transcript.

It is kept in memory while a job runs; afterwards it is in the result. A job that is restarted
after a crash begins without any.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

Item = dict[str, Any]


class Partials:
    """The items of every running job, in order. Thread-safe."""

    def __init__(self) -> None:
        self._items: dict[str, list[Item]] = {}
        self._lock = Lock()

    @contextmanager
    def during(self, job_id: str) -> Iterator[Callable[[Item], None]]:
        """Yield a function that adds an item; all items are forgotten at the end of the block."""
        items: list[Item] = []
        with self._lock:
            self._items[job_id] = items
        try:
            yield items.append
        finally:
            with self._lock:
                self._items.pop(job_id, None)

    def of(self, job_id: str, first: int = 0) -> list[Item]:
        """The items of a job from number `first` on; empty if it does not run."""
        with self._lock:
            return self._items.get(job_id, [])[first:]
