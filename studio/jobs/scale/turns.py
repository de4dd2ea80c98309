"""The turns of clients in the queues of PostgreSQL.

Workers take the job with the lowest turn. It is set when the job is submitted (start-time fair
queuing): after the turn of its client's job before, and not before the current turn of its queue.
"""

from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from studio.jobs.job import State
from studio.jobs.rows import ACTIVE
from studio.jobs.tables import JobRow

# How many of the latest jobs are counted besides the unfinished ones.
LATEST = 1000


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
    waits, has_begun = JobRow.state == State.QUEUED, JobRow.started_at.is_not(None)
    is_unfinished = JobRow.state.in_(ACTIVE)
    last = select(func.max(JobRow.number)).correlate(None).scalar_subquery()
    counts = select(
        func.count().filter(waits),
        func.count().filter(mine, is_unfinished),
        func.count().filter(here, is_unfinished),
        func.max(turn).filter(here, mine),
        func.max(turn).filter(here, has_begun),
        func.min(turn).filter(here, waits),
        func.max(turn).filter(has_begun),
        func.min(turn).filter(waits),
    ).where(or_(is_unfinished, and_(has_begun, JobRow.number > last - LATEST)))
    queued, of_client, unfinished, own, *turns = session.execute(counts).one()
    begun_here, next_here, begun, next_elsewhere = turns
    now = _current(begun_here, next_here)
    if not unfinished:
        # A worker may take the jobs of other queues too, where clients wait.
        now = max(now, begun or 0) if next_elsewhere is None else next_elsewhere
    return Standing(queued, of_client, max(now, 0 if own is None else own + 1))


def _current(begun: int | None, waiting: int | None) -> int:
    """The turn of the jobs that begin now, given the last one that began and the next one."""
    if begun is None:
        return waiting or 0
    # After a gap, only long jobs of earlier turns are known to have begun.
    return begun if waiting is None or begun >= waiting - 1 else waiting
