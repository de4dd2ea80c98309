"""Messages about jobs that are still to be sent; they lie in the job database until they are."""

from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import sessionmaker

from studio.jobs.job import Job, State
from studio.jobs.store import Base, JobRow, MessageRow, job_of

FINAL = [state for state in State if state.is_final]


@dataclass(frozen=True)
class Message:
    """One message: where it goes, how often that was tried, the client that asked for it, and the
    job that it tells of."""

    message_id: str
    url: str
    attempts: int
    client: str | None
    job: Job


class Outbox:
    """Reads the messages that came with jobs. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)

    def open(self) -> None:
        Base.metadata.create_all(self._engine)

    def clients(self, now: float) -> list[str | None]:
        """Clients with messages that are due."""
        with self._sessions() as session:
            rows = session.scalars(
                select(MessageRow.client)
                .join(JobRow, JobRow.job_id == MessageRow.job_id)
                .where(JobRow.state.in_(FINAL), MessageRow.due_at <= now)
                .distinct()
            )
            return list(rows)

    def due(self, now: float, client: str | None, most: int) -> list[Message]:
        """Messages of a client about jobs that have ended, whose time has come."""
        with self._sessions() as session:
            rows = session.execute(
                select(MessageRow, JobRow)
                .join(JobRow, JobRow.job_id == MessageRow.job_id)
                .where(
                    JobRow.state.in_(FINAL),
                    MessageRow.due_at <= now,
                    MessageRow.client.is_not_distinct_from(client),
                )
                .order_by(MessageRow.due_at)
                .limit(most)
            )
            return [
                Message(row.message_id, row.url, row.attempts, row.client, job_of(job))
                for row, job in rows
            ]

    def count(self, client: str | None, except_url: str) -> int:
        """Messages of a client that wait, but for those to one address."""
        with self._sessions() as session:
            mine = MessageRow.client.is_not_distinct_from(client)
            counted = select(func.count()).where(mine, MessageRow.url != except_url)
            return session.scalar(counted) or 0

    def put_off(self, message_id: str, due_at: float) -> None:
        """Try at a later time, without counting an attempt."""
        with self._sessions.begin() as session:
            session.execute(
                update(MessageRow).where(MessageRow.message_id == message_id).values(due_at=due_at)
            )

    def postpone(self, message_id: str, due_at: float) -> None:
        """Count a failed attempt, and try again at a time."""
        with self._sessions.begin() as session:
            session.execute(
                update(MessageRow)
                .where(MessageRow.message_id == message_id)
                .values(attempts=MessageRow.attempts + 1, due_at=due_at)
            )

    def remove(self, message_id: str) -> None:
        """It was sent, or given up."""
        with self._sessions.begin() as session:
            session.execute(delete(MessageRow).where(MessageRow.message_id == message_id))

    def remove_orphans(self) -> None:
        """Remove messages about jobs that are gone."""
        with self._sessions.begin() as session:
            known = select(JobRow.job_id)
            session.execute(delete(MessageRow).where(MessageRow.job_id.not_in(known)))
