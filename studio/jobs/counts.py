"""Counts unfinished jobs for health checks, which must not wait for the database."""

import logging
from concurrent.futures import Future
from threading import Lock, Thread

from sqlalchemy.exc import SQLAlchemyError

from studio import logs
from studio.jobs.job import State
from studio.jobs.store import JobStore

log = logs.Limited(logging.getLogger(__name__))

WAIT_S = 2.0

Counts = tuple[int, int]
"""The numbers of queued and of processing jobs."""


class JobCounts:
    """Reads on a thread of its own, because a stalled database keeps its callers waiting.

    At most one such thread waits, however many health checks arrive. Thread-safe.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._reading: Future[Counts] | None = None
        self._lock = Lock()

    def latest(self) -> Counts | None:
        """None if the database does not respond."""
        try:
            return self._started().result(WAIT_S)
        except (TimeoutError, SQLAlchemyError, RuntimeError) as error:
            log.warning("cannot count jobs: %s", str(error) or "the database does not respond")
            return None

    def _started(self) -> Future[Counts]:
        """The reading in progress, or a new one."""
        with self._lock:
            if self._reading is None or self._reading.done():
                reading: Future[Counts] = Future()
                arguments = (reading,)
                Thread(target=self._read, args=arguments, name="counts", daemon=True).start()
                self._reading = reading
            return self._reading

    def _read(self, reading: Future[Counts]) -> None:
        try:
            counts = self._store.count(State.QUEUED), self._store.count(State.PROCESSING)
        except Exception as error:
            reading.set_exception(error)
        else:
            reading.set_result(counts)
