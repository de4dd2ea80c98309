"""What running jobs have produced so far, for web servers on other machines."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

from sqlalchemy import ColumnElement, Engine, and_, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from studio.jobs.database import Sessions
from studio.jobs.job import Job, State
from studio.jobs.partials import Item
from studio.jobs.tables import JobRow, PartialRow

log = logging.getLogger(__name__)

WRITE_EVERY_S = 2.0
# Per job; items beyond it are in its result only.
MAX_BYTES = 8 << 20


class SharedPartials:
    """`Partials` in the job database. Each attempt adds rows of its own, every `every_s`."""

    def __init__(
        self, engine: Engine, *, every_s: float = WRITE_EVERY_S, max_bytes: int = MAX_BYTES
    ) -> None:
        self._sessions = Sessions(engine)
        self._every_s = every_s
        self._max_bytes = max_bytes

    @contextmanager
    def during(self, job: Job) -> Iterator[Callable[[Item], None]]:
        """Yield a function that adds an item; all items are forgotten at the end of the block."""
        writer = _Writer(self._sessions, job, self._every_s, self._max_bytes)
        try:
            yield writer.add
        finally:
            writer.stop()

    def of(self, job_id: str, first: int = 0) -> list[Item]:
        """The items of a job from number `first` on; empty if it does not run."""
        rows = (
            select(PartialRow)
            .join(JobRow, _is_of_job())
            .where(
                PartialRow.job_id == job_id,
                PartialRow.first + PartialRow.count > first,
                JobRow.state == State.PROCESSING,
            )
            .order_by(PartialRow.first)
        )
        with self._sessions.reading() as session:
            stored = session.scalars(rows).all()
        items = [item for row in stored for item in row.items]
        return items[max(0, first - stored[0].first) :] if stored else []


def forget_lost(session: Session) -> None:
    """Delete the partials of attempts that are no longer running."""
    runs = select(JobRow.number).where(_is_of_job(), JobRow.state == State.PROCESSING)
    session.execute(delete(PartialRow).where(~runs.exists()))


def _is_of_job() -> ColumnElement[bool]:
    return and_(JobRow.job_id == PartialRow.job_id, JobRow.attempt == PartialRow.attempt)


class _Writer:
    """Writes the items of an attempt on its own thread, which starts with the first item."""

    def __init__(self, sessions: Sessions, job: Job, every_s: float, max_bytes: int) -> None:
        self._sessions = sessions
        self._job = job
        self._every_s = every_s
        self._left_bytes = max_bytes
        self._waiting: list[Item] = []
        self._written = 0
        self._lock = Lock()
        self._ended = Event()
        self._thread: Thread | None = None

    def add(self, item: Item) -> None:
        self._left_bytes -= len(json.dumps(item))
        if self._left_bytes < 0:
            return
        with self._lock:
            self._waiting.append(item)
        if self._thread is None:
            self._thread = Thread(target=self._loop, name="partials", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop, and delete what was written."""
        self._ended.set()
        if self._thread is None:
            return
        self._thread.join()
        mine = (PartialRow.job_id == self._job.job_id, PartialRow.attempt == self._job.attempt)
        try:
            with self._sessions.begin() as session:
                session.execute(delete(PartialRow).where(*mine))
        except SQLAlchemyError:
            log.warning("the keeper will delete the partial results of job %s", self._job.job_id)

    def _loop(self) -> None:
        while True:
            with self._lock:
                items = list(self._waiting)
            if items:
                self._write(items)
            if self._ended.wait(self._every_s):
                return

    def _write(self, items: list[Item]) -> None:
        row = PartialRow(
            job_id=self._job.job_id,
            attempt=self._job.attempt,
            first=self._written,
            count=len(items),
            items=items,
        )
        try:
            with self._sessions.begin() as session:
                # The row exists if an earlier transaction was committed but its answer was lost.
                session.merge(row)
        except SQLAlchemyError:
            log.warning(
                "could not store partial results of job %s", self._job.job_id, exc_info=True
            )
            return
        self._written += len(items)
        with self._lock:
            del self._waiting[: len(items)]
