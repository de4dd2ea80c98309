"""Jobs in a database (SQLAlchemy). Each change is a transaction; a final state is set once."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy.orm import Session

from studio.jobs import faults, migration, totals
from studio.jobs.job import Job, Request, State
from studio.jobs.queries import JobQueries
from studio.jobs.rows import (
    ACTIVE,
    add_message,
    forget_oldest,
    is_run_by,
    new_message,
    new_row,
)
from studio.jobs.tables import JobRow, job_of

# The first attempt and two more after crashes.
MAX_ATTEMPTS = 3
# How long an edit waits for another one, whose server may be frozen.
EDITING_WAIT_S = 10.0
WAITING_AGAIN: dict[str, Any] = {
    "state": State.QUEUED,
    "stage": "waiting",
    "progress": 0.0,
    "eta_s": None,
    "started_at": None,
    "attempt": JobRow.attempt + 1,
}


class JobStore(JobQueries):
    """The job database. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._engine = engine
        self._claiming_lock = Lock()
        self._editing_lock = Lock()

    def open(self) -> None:
        """Create the tables, or bring those of an older version up to date."""
        migration.upgrade(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    @staticmethod
    def new_id() -> str:
        return uuid4().hex

    def add(
        self,
        request: Request,
        job_id: str | None = None,
        result: dict[str, Any] | None = None,
        client: str | None = None,
        webhook: str | None = None,
        *,
        shares: str = "",
    ) -> Job:
        """Store a job: queued, or completed if its `result` is given.

        The message for `webhook` is written in the same transaction, so a crash cannot separate
        them.
        """
        row = new_row(request, job_id or self.new_id(), result, client)
        row.shares = shares
        with self._sessions.begin() as session:
            return self._insert(session, row, webhook)

    def _insert(self, session: Session, row: JobRow, webhook: str | None) -> Job:
        """Store the row of a new job, and the message about its end."""
        session.add(row)
        if webhook is not None:
            session.add(new_message(row.job_id, webhook, row.client))
        session.flush()
        forget_oldest(session, row.file_id)
        return self._jobs(session, [row])[0]

    def add_webhook(self, job_id: str, webhook: str, client: str | None = None) -> None:
        """Add a message to a URL about an existing job, unless one is already pending."""
        with self._sessions.begin() as session:
            add_message(session, job_id, webhook, client)

    @contextmanager
    def editing(self, _file_id: str) -> Iterator[None]:
        """Let nobody else edit or copy the results of a file until the block ends.

        Raises StorageUnavailable if another edit does not end.
        """
        if not self._editing_lock.acquire(timeout=EDITING_WAIT_S):
            raise faults.edit_in_progress()
        try:
            yield
        finally:
            self._editing_lock.release()

    def _waiting_briefly(self) -> AbstractContextManager[Session]:
        """A transaction of a request, which does not wait for the locks of others for long."""
        return self._sessions.begin()

    def forget(self, job_id: str) -> None:
        """Delete a job."""
        with self._waiting_briefly() as session:
            session.execute(delete(JobRow).where(JobRow.job_id == job_id))

    def claim(self) -> Job | None:
        """Take the next queued job and mark it as processing.

        Clients take turns; the jobs of one client are taken in order.
        """
        with self._claiming_lock, self._sessions.begin() as session:
            queue = self._queue(session)
            if not queue:
                return None
            client, numbers = queue[0]
            job = self._begin(session, JobRow.number == numbers[0])
            if job is not None:
                self._turns.take(client, [waiting for waiting, _ in queue])
            return job

    @staticmethod
    def _begin(session: Session, *which: ColumnElement[bool]) -> Job | None:
        """Mark a job as processing; None if it is not queued."""
        row = session.scalar(
            update(JobRow)
            .where(*which, JobRow.state == State.QUEUED)
            .values(
                state=State.PROCESSING,
                stage="starting",
                started_at=time.time(),
                attempts=JobRow.attempts + 1,
            )
            .returning(JobRow)
        )
        return None if row is None else job_of(row)

    def report(self, job: Job, stage: str, progress: float, eta_s: float | None) -> bool:
        """Store the progress of an attempt.

        Returns False if it no longer owns the job, which was canceled, deleted or given to another
        attempt.
        """
        with self._sessions.begin() as session:
            changed = session.scalar(
                update(JobRow)
                .where(*is_run_by(job))
                .values(stage=stage, progress=progress, eta_s=eta_s)
                .returning(JobRow.number)
            )
            return changed is not None

    def finish(
        self,
        job: Job,
        state: State,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """Set the terminal state, and count the job.

        Returns False if the attempt no longer owns the job.
        """
        now = time.time()
        values: dict[str, Any] = {"state": state, "finished_at": now, "eta_s": None}
        values |= {"result": result, "error": error}
        if state is State.COMPLETED:
            values |= {"stage": "done", "progress": 1.0}
        with self._sessions.begin() as session:
            changed = session.scalar(
                update(JobRow)
                .where(
                    JobRow.job_id == job.job_id,
                    JobRow.attempt == job.attempt,
                    JobRow.state.in_(ACTIVE),
                )
                .values(**values)
                .returning(JobRow.number)
            )
            if changed is None:
                return False
            if state is State.COMPLETED:
                audio_s = float((result or {}).get("duration_s", 0.0))
                running_s = replace(job, finished_at=now).running_s
                totals.add_completed(session, job.request.model, audio_s, running_s)
            else:
                totals.add_ended(session, state, [job.request.model])
            self._announce(session, [job.job_id])
            return True

    def requeue(self, job: Job) -> None:
        """Return a job to its place in the queue, without counting the attempt that gives it up."""
        with self._sessions.begin() as session:
            row = session.scalar(
                update(JobRow)
                .where(*is_run_by(job))
                .values(**WAITING_AGAIN, attempts=JobRow.attempts - 1)
                .returning(JobRow)
            )
            if row is not None:
                self._enqueue(session, [row])

    def cancel(self, file_id: str) -> list[str]:
        """Cancel the queued and processing jobs of a file. Returns their IDs."""
        with self._waiting_briefly() as session:
            rows = session.execute(
                update(JobRow)
                .where(JobRow.file_id == file_id, JobRow.state.in_(ACTIVE))
                .values(state=State.CANCELED, finished_at=time.time(), eta_s=None)
                .returning(JobRow.job_id, JobRow.model)
            ).all()
            totals.add_ended(session, State.CANCELED, [model for _, model in rows])
            canceled = [job_id for job_id, _ in rows]
            self._announce(session, canceled)
            return canceled

    def _enqueue(self, session: Session, rows: Sequence[JobRow]) -> None:
        """Add queued jobs to the queue of other processes; without them, the rows are the queue."""

    def _announce(self, session: Session, job_ids: Iterable[str]) -> None:
        """Notify other processes, with this transaction, that jobs have ended; here are none."""

    def forget_file(self, file_id: str) -> None:
        """Delete all jobs of a file."""
        with self._waiting_briefly() as session:
            for row in session.scalars(select(JobRow).where(JobRow.file_id == file_id)):
                session.delete(row)

    def recover(self, interrupted: dict[str, Any], held: Collection[str] = ()) -> None:
        """Queue interrupted jobs again, or fail them after the last attempt.

        `held` are the jobs that are actually running; none at startup.
        """
        with self._sessions.begin() as session:
            lost = (JobRow.state == State.PROCESSING, JobRow.job_id.not_in(held))
            self._retry(session, lost, MAX_ATTEMPTS, interrupted)

    def _retry(
        self,
        session: Session,
        lost: Sequence[ColumnElement[bool]],
        max_attempts: int,
        interrupted: dict[str, Any],
    ) -> list[str]:
        """Queue lost jobs again, or fail them after the last attempt. Returns the failed IDs."""
        ended = session.execute(
            update(JobRow)
            .where(*lost, JobRow.attempts >= max_attempts)
            .values(state=State.FAILED, finished_at=time.time(), error=interrupted, eta_s=None)
            .returning(JobRow.job_id, JobRow.model)
        ).all()
        totals.add_ended(session, State.FAILED, [model for _, model in ended])
        failed = [job_id for job_id, _ in ended]
        waiting = session.scalars(
            update(JobRow)
            .where(*lost, JobRow.attempts < max_attempts)
            .values(**WAITING_AGAIN)
            .returning(JobRow)
        ).all()
        self._enqueue(session, waiting)
        self._announce(session, failed)
        return failed
