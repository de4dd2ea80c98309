"""Pending webhook messages, stored in the job database."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, delete, func, or_, select, update

from studio.jobs.database import Sessions
from studio.jobs.job import Job, State
from studio.jobs.tables import JobRow, MessageRow, job_of

# Delays between attempts; up to a tenth is added at random.
DELAYS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 28_800.0, 86_400.0)
MAX_DELAY_S = 1.1 * DELAYS_S[-1]
FINAL = [state for state in State if state.is_final]


@dataclass(frozen=True)
class Message:
    """A message: its URL, the number of attempts, the client that requested it, and the job."""

    message_id: str
    url: str
    attempts: int
    client: str | None
    job: Job


class Outbox:
    """Access to the messages of jobs. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = Sessions(engine)

    def clients(self, now: float) -> list[str | None]:
        """The clients that have due messages, in the order in which their jobs ended."""
        with self._sessions.reading() as session:
            rows = session.scalars(
                select(MessageRow.client)
                .join(JobRow, JobRow.job_id == MessageRow.job_id)
                .where(JobRow.state.in_(FINAL), _is_due(now))
                .group_by(MessageRow.client)
                .order_by(func.min(JobRow.finished_at))
            )
            return list(rows)

    def due(self, now: float, client: str | None, limit: int) -> list[Message]:
        """The due messages of a client about jobs that have ended."""
        with self._sessions.reading() as session:
            rows = session.execute(
                select(MessageRow, JobRow)
                .join(JobRow, JobRow.job_id == MessageRow.job_id)
                .where(
                    JobRow.state.in_(FINAL),
                    _is_due(now),
                    MessageRow.client.is_not_distinct_from(client),
                )
                .order_by(MessageRow.due_at)
                .limit(limit)
            )
            return [
                Message(row.message_id, row.url, row.attempts, row.client, job_of(job))
                for row, job in rows
            ]

    def count(self, client: str | None, except_url: str) -> int:
        """The number of pending messages of a client, except those to one URL."""
        with self._sessions.reading() as session:
            mine = MessageRow.client.is_not_distinct_from(client)
            counted = select(func.count()).where(mine, MessageRow.url != except_url)
            return session.scalar(counted) or 0

    def claim(self, message_id: str, now: float, until: float) -> bool:
        """Take a due message until a time; False if another process has taken it."""
        with self._sessions.begin() as session:
            taken = session.scalar(
                update(MessageRow)
                .where(MessageRow.message_id == message_id, _is_due(now))
                .values(due_at=until)
                .returning(MessageRow.message_id)
            )
            return taken is not None

    def postpone(self, message_id: str, due_at: float) -> None:
        """Postpone without counting an attempt."""
        with self._sessions.begin() as session:
            session.execute(
                update(MessageRow).where(MessageRow.message_id == message_id).values(due_at=due_at)
            )

    def retry_at(self, message_id: str, due_at: float) -> None:
        """Count a failed attempt and retry at the given time."""
        with self._sessions.begin() as session:
            session.execute(
                update(MessageRow)
                .where(MessageRow.message_id == message_id)
                .values(attempts=MessageRow.attempts + 1, due_at=due_at)
            )

    def remove(self, message_id: str) -> None:
        """Delete a message that was delivered or given up."""
        with self._sessions.begin() as session:
            session.execute(delete(MessageRow).where(MessageRow.message_id == message_id))

    def remove_orphans(self) -> None:
        """Delete messages about deleted jobs."""
        with self._sessions.begin() as session:
            known = select(JobRow.job_id)
            session.execute(delete(MessageRow).where(MessageRow.job_id.not_in(known)))


def _is_due(now: float) -> ColumnElement[bool]:
    # Delays are never that long, so the clock was set back.
    return or_(MessageRow.due_at <= now, MessageRow.due_at > now + MAX_DELAY_S)
