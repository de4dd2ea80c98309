"""Counts unfinished jobs for health checks, which must not wait for the database."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from studio import logs
from studio.inference.shared_call import SharedCall
from studio.jobs.job import State
from studio.jobs.store import JobStore

log = logs.RateLimitedLog(logging.getLogger(__name__))

WAIT_S = 2.0

Counts = tuple[int, int]
"""The numbers of queued and of processing jobs."""


class JobCounts:
    """A stalled database keeps no health check waiting. Thread-safe."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._reading = SharedCall(self._read, "counts")

    def latest(self) -> Counts | None:
        """None if the database does not respond."""
        try:
            return self._reading.start().result(WAIT_S)
        except (TimeoutError, SQLAlchemyError, RuntimeError) as error:
            log.warning("cannot count jobs: %s", str(error) or "the database does not respond")
            return None

    def _read(self) -> Counts:
        return self._store.count(State.QUEUED), self._store.count(State.PROCESSING)
