"""What running jobs have produced so far, such as the segments of a transcript.

Once the job has ended, they are in its result. A new attempt begins without any.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, Protocol

from studio.jobs.job import Job

Item = dict[str, Any]


class Partials(Protocol):
    """The items of every running job, in order. Thread-safe."""

    def during(self, job: Job) -> AbstractContextManager[Callable[[Item], None]]:
        """Yield a function that adds an item; all items are forgotten at the end of the block."""
        ...

    def of(self, job_id: str, first: int = 0) -> list[Item]:
        """The items of a job from number `first` on; empty if it does not run."""
        ...


class LocalPartials:
    """`Partials` in the memory of the process that runs the jobs."""

    def __init__(self) -> None:
        self._items: dict[str, list[Item]] = {}
        self._lock = Lock()

    @contextmanager
    def during(self, job: Job) -> Iterator[Callable[[Item], None]]:
        """Yield a function that adds an item; all items are forgotten at the end of the block."""
        items: list[Item] = []
        with self._lock:
            self._items[job.job_id] = items
        try:
            yield items.append
        finally:
            with self._lock:
                self._items.pop(job.job_id, None)

    def of(self, job_id: str, first: int = 0) -> list[Item]:
        """The items of a job from number `first` on; empty if it does not run."""
        with self._lock:
            return self._items.get(job_id, [])[first:]
