"""The turns of clients in the queues of PostgreSQL.

Workers take the job with the lowest turn. It is set when the job is submitted (start-time fair
queuing): after the turn of its client's job before, and not before the current turn of its queue.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, ScalarSelect, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from studio.jobs.job import State
from studio.jobs.rows import ACTIVE
from studio.jobs.tables import JobRow, TurnRow

# Clients that have started no job for this long rejoin at the current turn.
KEPT_DAYS = 1


@dataclass(frozen=True)
class Standing:
    """The numbers of all queued jobs and of a client's unfinished jobs, and its next turn."""

    queued: int
    of_client: int
    turn: int


def standing(session: Session, queue: str, client: str | None) -> Standing:
    """The standing of a client that submits a job to a queue."""
    turn = -JobRow.priority
    here, mine = JobRow.queue == queue, JobRow.client.is_not_distinct_from(client)
    waits = JobRow.state == State.QUEUED
    began_here = TurnRow.queue == queue
    counts = select(
        func.count().filter(waits),
        func.count().filter(mine),
        func.count().filter(here),
        func.max(turn).filter(here, mine),
        func.min(turn).filter(here, waits),
        func.min(turn).filter(waits),
        _last_begun(began_here, TurnRow.client == (client or "")),
        _last_begun(began_here),
        _last_begun(),
    ).where(JobRow.state.in_(ACTIVE))
    queued, of_client, unfinished, own, next_here, next_elsewhere, *begun = session.execute(
        counts
    ).one()
    own_begun, begun_here, begun_anywhere = begun
    now = _current(begun_here, next_here)
    if not unfinished:
        # A worker may take the jobs of other queues too, where clients wait.
        now = max(now, begun_anywhere or 0) if next_elsewhere is None else next_elsewhere
    after_own = max((last + 1 for last in (own, own_begun) if last is not None), default=0)
    return Standing(queued, of_client, max(now, after_own))


def _last_begun(*which: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.max(TurnRow.turn)).where(*which).scalar_subquery()


def _current(begun: int | None, waiting: int | None) -> int:
    """The turn of the jobs that begin now, given the last one that began and the next one."""
    if begun is None:
        return waiting or 0
    # The jobs in a gap were canceled.
    return begun if waiting is None or begun >= waiting - 1 else waiting


def take(session: Session, job_id: str) -> None:
    """Keep the turn of a job that begins: its row may be deleted as soon as it has ended."""
    its = select(
        JobRow.queue, func.coalesce(JobRow.client, ""), -JobRow.priority, func.now()
    ).where(JobRow.job_id == job_id)
    row = insert(TurnRow).from_select(["queue", "client", "turn", "begun_at"], its)
    # A job that begins again has an earlier turn.
    turn = func.greatest(TurnRow.turn, row.excluded.turn)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["queue", "client"],
            set_={"turn": turn, "begun_at": row.excluded.begun_at},
        )
    )


def forget_old(session: Session) -> None:
    """Delete the turns of clients that have begun no job for long."""
    session.execute(
        delete(TurnRow).where(TurnRow.begun_at < func.now() - timedelta(days=KEPT_DAYS))
    )
