"""The job database of many machines, in PostgreSQL."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, ColumnElement, Engine, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from studio.jobs import faults
from studio.jobs.job import Job, Request, State
from studio.jobs.jobs import check_bounds, uses
from studio.jobs.rows import ACTIVE, add_message, is_run_by, new_row
from studio.jobs.scale import entries, turns
from studio.jobs.scale.contact import Contact
from studio.jobs.scale.partials import forget_lost
from studio.jobs.store import EDITING_WAIT_S, JobStore
from studio.jobs.tables import DEFAULT_QUEUE, JobRow, job_of

# The first attempt and four more after crashes.
MAX_ATTEMPTS = 5
# Notified with the ID of every job that ends.
CHANNEL = "studio_jobs"
# Advisory locks: held by submissions together, or by one deletion of a file alone.
FILES_LOCK = 0x5354_5544_0002
# The first half of the advisory lock of a client.
CLIENT_LOCK = 0x5354
# The first half of the advisory lock of a file whose results are edited.
EDITING_LOCK = 0x5355
# The contact of a caller that does not say since when it has had it.
EVER = datetime(1, 1, 1, tzinfo=UTC)
# Settings of PostgreSQL.
LOCK_WAIT = "lock_timeout"
IDLE = "idle_in_transaction_session_timeout"
# How long requests wait for the locks of others before they get 503.
LOCK_WAIT_S = 10.0
# How long PostgreSQL waits for what is done while no job uses a file, and for an edit. A process
# that freezes meanwhile holds up all new jobs, or the edits of one file.
MAX_IDLE_ACT_S = 60.0
MAX_EDIT_S = 600.0
# How often to try when another server submits the same request at the same time.
TRIES = 3

# Unfinished jobs whose entry is gone, belongs to a dead worker, or was taken but never begun. After
# an outage of PostgreSQL, workers have `stalled_s` to come back.
LOST = """
SELECT jobs.number
FROM jobs
LEFT JOIN procrastinate_jobs AS entries ON entries.id = jobs.entry
LEFT JOIN procrastinate_workers AS workers ON workers.id = entries.worker_id
WHERE jobs.state IN ('queued', 'processing')
AND (
    entries.id IS NULL
    OR entries.status NOT IN ('todo', 'doing')
    OR entries.status = 'doing' AND (
        workers.id IS NULL
        OR greatest(workers.last_heartbeat, :since) < now() - make_interval(secs => :stalled_s)
        OR jobs.state = 'queued' AND NOT EXISTS (
            SELECT FROM procrastinate_events AS events
            WHERE events.job_id = entries.id AND events.type = 'started'
            AND greatest(events.at, :since) > now() - make_interval(secs => :stalled_s)
        )
    )
)
FOR UPDATE OF jobs SKIP LOCKED
"""
# Entries that no job needs any more, unless a living worker will remove them itself.
UNUSED = """
DELETE FROM procrastinate_jobs AS entries
WHERE NOT EXISTS (
    SELECT FROM jobs WHERE jobs.entry = entries.id AND jobs.state IN ('queued', 'processing')
)
AND NOT EXISTS (
    SELECT FROM procrastinate_workers AS workers
    WHERE workers.id = entries.worker_id
    AND greatest(workers.last_heartbeat, :since) > now() - make_interval(secs => :stalled_s)
)
"""


class SharedJobStore(JobStore):
    """The job database of web servers, workers and keepers. Thread-safe.

    `route` names the queue of a model's variant. One client may have `max_per_client` unfinished
    jobs (0: no limit). `is_last` says that no processes of an older version run any more.
    """

    def __init__(
        self,
        engine: Engine,
        route: Callable[[str, str], str] = lambda *_: DEFAULT_QUEUE,
        *,
        max_queued: int = 100,
        max_per_client: int = 0,
        is_last: bool = False,
    ) -> None:
        super().__init__(engine)
        self._route = route
        self._max_queued = max_queued
        self._max_per_client = max_per_client
        self._is_last = is_last

    @property
    def url(self) -> URL:
        """The address of the database."""
        return self._engine.url

    def open(self) -> None:
        super().open()
        entries.upgrade_tables(self._engine, is_last=self._is_last)

    def submit(self, request: Request, client: str | None, webhook: str | None) -> Job:
        """Queue a job, or return the unfinished one for the same request.

        Its row, its entry in the queue and its message are one transaction. Raises QueueFull or
        TooManyJobs.
        """
        for remaining in reversed(range(TRIES)):
            try:
                with self._sessions.begin() as session:
                    return self._submit(session, request, client, webhook)
            except IntegrityError:
                # Another server has just stored the same request.
                if not remaining:
                    raise
        raise AssertionError("unreachable")

    def _submit(
        self, session: Session, request: Request, client: str | None, webhook: str | None
    ) -> Job:
        locks = [_limit(LOCK_WAIT, LOCK_WAIT_S), func.pg_advisory_xact_lock_shared(FILES_LOCK)]
        if client is not None:
            locks.append(func.pg_advisory_xact_lock(CLIENT_LOCK, func.hashtext(client)))
        session.execute(select(*locks))
        same = session.scalars(
            select(JobRow).where(
                JobRow.file_id == request.file_id,
                JobRow.fingerprint.in_(request.fingerprints),
                JobRow.state.in_(ACTIVE),
            )
        ).first()
        if same is not None:
            if webhook is not None:
                add_message(session, same.job_id, webhook, client)
            return self._jobs(session, [same])[0]
        row = new_row(request, self.new_id(), None, client)
        row.queue = self._route(request.model, request.variant)
        now = turns.standing(session, row.queue, client)
        of_client = 0 if client is None else now.of_client
        check_bounds(now.queued, self._max_queued, of_client, self._max_per_client)
        row.priority = -now.turn
        self._enqueue(session, [row])
        return self._insert(session, row, webhook)

    def begin(self, job_id: str, attempt: int) -> Job | None:
        """Mark a queued job as processing; None if this attempt was canceled or fenced."""
        with self._sessions.begin() as session:
            job = self._begin(session, JobRow.job_id == job_id, JobRow.attempt == attempt)
            if job is not None:
                turns.take(session, job_id)
            return job

    def owns(self, job: Job) -> bool:
        """Whether an attempt still owns its job."""
        with self._sessions.reading() as session:
            return session.scalar(select(JobRow.number).where(*is_run_by(job))) is not None

    def rescue(
        self, interrupted: dict[str, Any], stalled_s: float, contact: Contact | None = None
    ) -> list[str]:
        """Queue the jobs of dead workers again, or fail them after the last attempt.

        A worker is dead after `stalled_s` without a heartbeat, all of it within the `contact` of
        the caller. Returns the IDs of failed jobs.
        """
        with self._sessions.begin() as session:
            now = session.scalars(select(func.clock_timestamp())).one()
            since = contact.since(now) if contact else EVER
            limits = {"stalled_s": stalled_s, "since": since}
            numbers = session.scalars(text(LOST), limits).all()
            lost = [JobRow.number.in_(numbers)]
            failed = self._retry(session, lost, MAX_ATTEMPTS, interrupted)
            session.execute(text(UNUSED), limits)
            forget_lost(session)
            turns.forget_old(session)
            return failed

    def while_idle(self, file_id: str, act: Callable[[], None]) -> None:
        """Call `act` unless an unfinished job uses the file; block new jobs until it returns."""
        with self._sessions.begin() as session:
            limit = _limit(IDLE, MAX_IDLE_ACT_S)
            session.execute(select(limit, func.pg_advisory_xact_lock(FILES_LOCK)))
            rows = session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE)))
            if not any(uses(job_of(row), file_id) for row in rows):
                act()

    @contextmanager
    def editing(self, file_id: str) -> Iterator[None]:
        """Let nobody else edit or copy the results of a file until the block ends, on any server.

        Raises StorageUnavailable if another edit does not end.
        """
        limits = [_limit(LOCK_WAIT, EDITING_WAIT_S), _limit(IDLE, MAX_EDIT_S)]
        lock = func.pg_advisory_xact_lock(EDITING_LOCK, func.hashtext(file_id))
        # Edits need more connections. If each thread held one, there might be none left.
        with super().editing(file_id), self._sessions.begin() as session:
            try:
                session.execute(select(*limits, lock))
            except OperationalError as error:
                if faults.is_lock_timeout(error.orig):
                    raise faults.edit_in_progress() from error
                raise
            yield

    @contextmanager
    def _waiting_briefly(self) -> Iterator[Session]:
        with super()._waiting_briefly() as session:
            session.execute(select(_limit(LOCK_WAIT, LOCK_WAIT_S)))
            yield session

    def _enqueue(self, session: Session, rows: Sequence[JobRow]) -> None:
        entries.add(session, rows)

    def _announce(self, session: Session, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            session.execute(select(func.pg_notify(CHANNEL, job_id)))

    def _positions(self, session: Session, rows: Sequence[JobRow]) -> dict[int, int]:
        """The positions of jobs within their queues, as Procrastinate takes them."""
        position = func.row_number().over(
            partition_by=JobRow.queue, order_by=(JobRow.priority.desc(), JobRow.entry)
        )
        waiting = select(JobRow.number, position).where(JobRow.state == State.QUEUED)
        positions = waiting.subquery()
        wanted = positions.c.number.in_([row.number for row in rows])
        return dict(session.execute(select(positions).where(wanted)).all())


def _limit(setting: str, limit_s: float) -> ColumnElement[str]:
    """Sets a time limit until the end of the transaction."""
    return func.set_config(setting, f"{limit_s * 1000:.0f}ms", True)
