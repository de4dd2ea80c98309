"""Jobs in a database (SQLAlchemy). Each change is a transaction; a final state is set once."""

import itertools
import time
from collections.abc import Collection, Iterable, Sequence
from threading import Lock
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import (
    JSON,
    Engine,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from studio.jobs.job import Job, Request, State
from studio.jobs.turns import Turns

# The first attempt and two more after crashes.
MAX_ATTEMPTS = 3
# Of a file; its oldest final jobs give way to new ones.
MAX_JOBS_KEPT = 100
ACTIVE = (State.QUEUED, State.PROCESSING)
WAITING_AGAIN: dict[str, Any] = {
    "state": State.QUEUED,
    "stage": "waiting",
    "progress": 0.0,
    "eta_s": None,
    "started_at": None,
}


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {dict[str, Any]: JSON}


class JobRow(Base):
    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(unique=True)
    file_id: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    variant: Mapped[str]
    options: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    stage: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    eta_s: Mapped[float | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    # Whom the bound on a client's jobs counts it for.
    client: Mapped[str | None]


class MessageRow(Base):
    """A message about a job that is still to be sent; studio.jobs.outbox reads them."""

    __tablename__ = "messages"

    message_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(index=True)
    url: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float] = mapped_column(default=0.0)
    # Who asked for it: clients take turns.
    client: Mapped[str | None]


class ProbeRow(Base):
    """Written and removed again to see whether the database takes rows; see studio.jobs.faults."""

    __tablename__ = "probes"

    probe_id: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[str]


def connect(url: str) -> Engine:
    """An engine for the address; SQLite gets a write-ahead log and waits for its lock."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.close()

    return engine


class JobStore:
    """The face of the job database. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = sessionmaker(engine)
        self._engine = engine
        self._turns = Turns()
        self._turns_lock = Lock()

    def open(self) -> None:
        """Make the tables, and the columns that a database of an earlier version lacks."""
        Base.metadata.create_all(self._engine)
        for table in Base.metadata.sorted_tables:
            there = {column["name"] for column in inspect(self._engine).get_columns(table.name)}
            with self._engine.begin() as connection:
                for column in table.columns:
                    if column.name not in there:
                        kind = column.type.compile(self._engine.dialect)
                        connection.execute(
                            text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
                        )

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
    ) -> Job:
        """Store a job: queued, or completed at once when its `result` is already there.

        The message to `webhook` comes with it, in one transaction: no death can part them.
        """
        now = time.time()
        row = JobRow(
            job_id=job_id or self.new_id(),
            file_id=request.file_id,
            model=request.model,
            variant=request.variant,
            options=request.options,
            fingerprint=request.fingerprint,
            state=State.QUEUED if result is None else State.COMPLETED,
            stage="waiting" if result is None else "done",
            progress=0.0 if result is None else 1.0,
            created_at=now,
            finished_at=None if result is None else now,
            result=result,
            client=client,
        )
        with self._sessions.begin() as session:
            session.add(row)
            if webhook is not None:
                session.add(_message(row.job_id, webhook, client))
            session.flush()
            _forget_oldest(session, request.file_id)
            return self._jobs(session, [row])[0]

    def tell(self, job_id: str, webhook: str, client: str | None = None) -> None:
        """Tell an address of the end of a job that is there; once, though asked for twice before
        it is sent."""
        with self._sessions.begin() as session:
            there = select(MessageRow.message_id).where(
                MessageRow.job_id == job_id, MessageRow.url == webhook
            )
            if session.scalar(there) is None:
                session.add(_message(job_id, webhook, client))

    def get(self, job_id: str) -> Job | None:
        with self._sessions() as session:
            row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
            return self._jobs(session, [row])[0] if row else None

    def of_file(self, file_id: str) -> list[Job]:
        """All jobs of a file, the latest first."""
        with self._sessions() as session:
            rows = session.scalars(
                select(JobRow).where(JobRow.file_id == file_id).order_by(JobRow.number.desc())
            )
            return self._jobs(session, rows.all())

    def file_ids(self) -> list[str]:
        """All files that there are jobs of."""
        with self._sessions() as session:
            return list(session.scalars(select(JobRow.file_id).distinct()))

    def states(self) -> dict[str, State]:
        """The state of every job, by its id."""
        with self._sessions() as session:
            rows = session.execute(select(JobRow.job_id, JobRow.state))
            return {job_id: State(state) for job_id, state in rows}

    def with_fingerprint(self, fingerprint: str, states: Iterable[State]) -> list[Job]:
        """Jobs that ask for the same thing and are in one of the states, the latest first."""
        with self._sessions() as session:
            rows = session.scalars(
                select(JobRow)
                .where(JobRow.fingerprint == fingerprint, JobRow.state.in_(list(states)))
                .order_by(JobRow.number.desc())
            )
            return self._jobs(session, rows.all())

    def count(self, state: State) -> int:
        with self._sessions() as session:
            return session.scalar(select(func.count()).where(JobRow.state == state)) or 0

    def count_by_model(self) -> dict[tuple[str, State], int]:
        """How many jobs there are of each model in each state."""
        with self._sessions() as session:
            rows = session.execute(
                select(JobRow.model, JobRow.state, func.count()).group_by(
                    JobRow.model, JobRow.state
                )
            )
            return {(model, State(state)): count for model, state, count in rows}

    def active(self) -> list[Job]:
        """Jobs that wait or run."""
        with self._sessions() as session:
            rows = session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE)))
            return self._jobs(session, rows.all())

    def count_active(self, client: str) -> int:
        """Jobs of a client that wait or run."""
        with self._sessions() as session:
            mine = (JobRow.client == client, JobRow.state.in_(ACTIVE))
            return session.scalar(select(func.count()).where(*mine)) or 0

    def claim(self) -> Job | None:
        """Take a queued job: it is processing from now on. Clients take turns; of the jobs of one
        client the oldest is next."""
        with self._turns_lock, self._sessions.begin() as session:
            client, numbers = next(iter(self._queue(session)), (None, []))
            if not numbers:
                return None
            row = session.scalar(
                update(JobRow)
                .where(JobRow.number == numbers[0], JobRow.state == State.QUEUED)
                .values(
                    state=State.PROCESSING,
                    stage="starting",
                    started_at=time.time(),
                    attempts=JobRow.attempts + 1,
                )
                .returning(JobRow)
            )
            if row is None:
                return None
            self._turns.take(client)
            return job_of(row)

    def _queue(self, session: Session) -> list[tuple[str | None, list[int]]]:
        """The clients with queued jobs in the order of their turns, and the numbers of the jobs."""
        rows = session.execute(
            select(JobRow.client, JobRow.number)
            .where(JobRow.state == State.QUEUED)
            .order_by(JobRow.number)
        )
        numbers: dict[str | None, list[int]] = {}
        for client, number in rows:
            numbers.setdefault(client, []).append(number)
        return [(client, numbers[client]) for client in self._turns.order(numbers)]

    def _jobs(self, session: Session, rows: Sequence[JobRow]) -> list[Job]:
        """Jobs of rows, in their order, with their places in the queue."""
        if all(row.state != State.QUEUED for row in rows):
            return [job_of(row) for row in rows]
        with self._turns_lock:
            queues = [numbers for _, numbers in self._queue(session)]
        # The first job of each client, then the second one of each, and so on.
        rounds = itertools.zip_longest(*queues)
        order = [number for turn in rounds for number in turn if number is not None]
        places = {number: place for place, number in enumerate(order, 1)}
        return [job_of(row, places.get(row.number)) for row in rows]

    def report(self, job_id: str, stage: str, progress: float, eta_s: float | None) -> None:
        """Note how far a processing job is."""
        with self._sessions.begin() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.job_id == job_id, JobRow.state == State.PROCESSING)
                .values(stage=stage, progress=progress, eta_s=eta_s)
            )

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """Set a terminal state, once; False when the job already had one or is gone."""
        values: dict[str, Any] = {"state": state, "finished_at": time.time(), "eta_s": None}
        values |= {"result": result, "error": error}
        if state is State.COMPLETED:
            values |= {"stage": "done", "progress": 1.0}
        with self._sessions.begin() as session:
            changed = session.scalar(
                update(JobRow)
                .where(JobRow.job_id == job_id, JobRow.state.in_(ACTIVE))
                .values(**values)
                .returning(JobRow.number)
            )
            return changed is not None

    def requeue(self, job_id: str) -> None:
        """Put a processing job back to its place; the attempt does not count."""
        with self._sessions.begin() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.job_id == job_id, JobRow.state == State.PROCESSING)
                .values(**WAITING_AGAIN, attempts=JobRow.attempts - 1)
            )

    def cancel_queued(self, file_id: str) -> list[str]:
        """Cancel the waiting jobs of a file; their ids."""
        with self._sessions.begin() as session:
            canceled = session.scalars(
                update(JobRow)
                .where(JobRow.file_id == file_id, JobRow.state == State.QUEUED)
                .values(state=State.CANCELED, finished_at=time.time())
                .returning(JobRow.job_id)
            )
            return list(canceled)

    def forget_file(self, file_id: str) -> None:
        """Remove every job of a file."""
        with self._sessions.begin() as session:
            for row in session.scalars(select(JobRow).where(JobRow.file_id == file_id)):
                session.delete(row)

    def recover(self, interrupted: dict[str, Any], held: Collection[str] = ()) -> None:
        """Queue again what was processing, or fail it after the last attempt.

        `held` are the jobs that a runner does at this moment; none after a start.
        """
        with self._sessions.begin() as session:
            lost = (JobRow.state == State.PROCESSING, JobRow.job_id.not_in(held))
            session.execute(
                update(JobRow)
                .where(*lost, JobRow.attempts >= MAX_ATTEMPTS)
                .values(state=State.FAILED, finished_at=time.time(), error=interrupted, eta_s=None)
            )
            session.execute(update(JobRow).where(*lost).values(**WAITING_AGAIN))


def _forget_oldest(session: Session, file_id: str) -> None:
    """Keep MAX_JOBS_KEPT jobs of a file: those that have not completed go first, then the oldest.

    Active jobs stay, and jobs that a message is still to be sent about.
    """
    kept = session.scalar(select(func.count()).where(JobRow.file_id == file_id)) or 0
    if kept <= MAX_JOBS_KEPT:
        return
    unsent = select(MessageRow.job_id).where(MessageRow.job_id == JobRow.job_id)
    oldest = (
        select(JobRow.number)
        .where(JobRow.file_id == file_id, JobRow.state.not_in(ACTIVE), ~unsent.exists())
        .order_by(JobRow.state == State.COMPLETED, JobRow.number)
        .limit(kept - MAX_JOBS_KEPT)
    )
    session.execute(delete(JobRow).where(JobRow.number.in_(session.scalars(oldest).all())))


def _message(job_id: str, url: str, client: str | None) -> MessageRow:
    return MessageRow(message_id=f"msg_{uuid4().hex}", job_id=job_id, url=url, client=client)


def job_of(row: JobRow, place: int | None = None) -> Job:
    request = Request(row.file_id, row.model, row.variant, row.options, row.fingerprint)
    return Job(
        row.job_id,
        request,
        State(row.state),
        row.stage,
        row.progress,
        row.created_at,
        row.eta_s,
        row.started_at,
        row.finished_at,
        row.attempts,
        place if row.state == State.QUEUED else None,
        row.client,
        row.error,
        row.result,
    )
