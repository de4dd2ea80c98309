"""What is read from the database of jobs, and the order of its queue."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from sqlalchemy import Engine, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from studio.jobs.database import Sessions
from studio.jobs.job import Job, Request, State, job_of_result, result_name
from studio.jobs.rows import ACTIVE
from studio.jobs.tables import JobRow, TotalRow, job_of
from studio.jobs.turns import Turns
from studio.storage.results import ResultId

IDS_AT_ONCE = 1000
# Their results may be large.
JOBS_AT_ONCE = 20


class JobQueries:
    """Reads jobs. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = Sessions(engine)
        self._turns = Turns()

    def get(self, job_id: str) -> Job | None:
        with self._sessions.reading() as session:
            row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
            return self._jobs(session, [row])[0] if row else None

    def has_ended(self, job_id: str) -> bool:
        """Whether a job is in a final state, or is gone."""
        with self._sessions.reading() as session:
            return session.scalar(select(JobRow.state).where(JobRow.job_id == job_id)) not in ACTIVE

    def of_file(self, file_id: str) -> list[Job]:
        """All jobs of a file, newest first."""
        with self._sessions.reading() as session:
            rows = session.scalars(
                select(JobRow).where(JobRow.file_id == file_id).order_by(JobRow.number.desc())
            )
            return self._jobs(session, rows.all())

    def current(self, file_ids: Collection[str], also: Collection[str] = ()) -> list[Job]:
        """The latest job and the unfinished jobs of each file, and those with the IDs `also`."""
        mine = JobRow.file_id.in_(file_ids)
        latest = select(func.max(JobRow.number)).where(mine).group_by(JobRow.file_id)
        wanted = or_(JobRow.number.in_(latest), JobRow.state.in_(ACTIVE), JobRow.job_id.in_(also))
        with self._sessions.reading() as session:
            rows = session.scalars(select(JobRow).where(mine, wanted).order_by(JobRow.number))
            return self._jobs(session, rows.all())

    def file_ids(self) -> Iterator[list[str]]:
        """The IDs of all files that have jobs, in parts."""
        after = ""
        while True:
            following = select(JobRow.file_id).where(JobRow.file_id > after).distinct()
            with self._sessions.reading() as session:
                part = session.scalars(following.order_by(JobRow.file_id).limit(IDS_AT_ONCE)).all()
            if not part:
                return
            yield list(part)
            after = part[-1]

    def states_by_result(self, results: Iterable[ResultId]) -> dict[str, State]:
        """The states of the jobs that have these results, by the names of the results."""
        mine = JobRow.job_id.in_({job_of_result(result.name) for result in results})
        with self._sessions.reading() as session:
            rows = session.execute(select(JobRow.job_id, JobRow.attempt, JobRow.state).where(mine))
            return {result_name(job_id, attempt): State(state) for job_id, attempt, state in rows}

    def shared_results(self, results: Iterable[ResultId]) -> set[str]:
        """The keys of those of the results whose files other results have."""
        mine = JobRow.shares.in_([result.key for result in results])
        with self._sessions.reading() as session:
            return set(session.scalars(select(JobRow.shares).where(mine)))

    def is_shared(self, result: ResultId) -> bool:
        """Whether a job of another file has the files of a result."""
        others = (JobRow.shares == result.key, JobRow.file_id != result.file_id)
        with self._sessions.reading() as session:
            return session.scalar(select(JobRow.number).where(*others).limit(1)) is not None

    def unfinished(self, request: Request) -> Job | None:
        """The unfinished job of the file for the same request."""
        with self._sessions.reading() as session:
            rows = session.scalars(
                select(JobRow).where(
                    JobRow.file_id == request.file_id,
                    JobRow.fingerprint.in_(request.fingerprints),
                    JobRow.state.in_(ACTIVE),
                )
            ).all()
            return self._jobs(session, rows[:1])[0] if rows else None

    def completed(self, request: Request) -> Iterator[Job]:
        """Completed jobs for the same request: those of its file, then of others; newest first."""
        place = (JobRow.file_id == request.file_id, JobRow.number)
        wanted = (
            select(JobRow)
            .where(
                JobRow.fingerprint.in_(request.fingerprints),
                JobRow.state == State.COMPLETED,
            )
            .order_by(*(column.desc() for column in place))
            .limit(JOBS_AT_ONCE)
        )
        part = wanted
        while True:
            with self._sessions.reading() as session:
                jobs = {row.number: job_of(row) for row in session.scalars(part)}
            yield from jobs.values()
            if len(jobs) < JOBS_AT_ONCE:
                return
            number, last = jobs.popitem()
            after = (literal(last.request.file_id == request.file_id), literal(number))
            part = wanted.where(tuple_(*place) < tuple_(*after))

    def count(self, state: State) -> int:
        with self._sessions.reading() as session:
            return session.scalar(select(func.count()).where(JobRow.state == state)) or 0

    def count_by_model(self) -> dict[tuple[str, State], int]:
        """The number of jobs by model and state."""
        with self._sessions.reading() as session:
            rows = session.execute(
                select(JobRow.model, JobRow.state, func.count()).group_by(
                    JobRow.model, JobRow.state
                )
            )
            return {(model, State(state)): count for model, state, count in rows}

    def totals(self) -> list[TotalRow]:
        """The sums of all jobs that have ended."""
        with self._sessions.reading() as session:
            return list(session.scalars(select(TotalRow).order_by(TotalRow.model, TotalRow.state)))

    def active(self) -> list[Job]:
        """Queued and processing jobs."""
        with self._sessions.reading() as session:
            rows = session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE)))
            return self._jobs(session, rows.all())

    def count_active(self, client: str) -> int:
        """The number of queued and processing jobs of a client."""
        with self._sessions.reading() as session:
            mine = (JobRow.client == client, JobRow.state.in_(ACTIVE))
            return session.scalar(select(func.count()).where(*mine)) or 0

    def _queue(self, session: Session) -> list[tuple[str | None, list[int]]]:
        """Clients with queued jobs in the order of their turns, with their job numbers."""
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
        """The jobs of rows in the same order, with their positions in the queue."""
        if all(row.state != State.QUEUED for row in rows):
            return [job_of(row) for row in rows]
        positions = self._positions(session, rows)
        queued = {row.number for row in rows if row.state == State.QUEUED}
        if left := queued - positions.keys():
            # They left the queue between the two statements.
            again = select(JobRow).where(JobRow.number.in_(left))
            session.scalars(again, execution_options={"populate_existing": True}).all()
        return [job_of(row, positions.get(row.number)) for row in rows]

    def _positions(self, session: Session, rows: Sequence[JobRow]) -> dict[int, int]:
        """The positions of queued jobs by their numbers; at least those of `rows`."""
        queues = [numbers for _, numbers in self._queue(session)]
        # The first job of each client, then the second one of each, and so on.
        rounds = itertools.zip_longest(*queues)
        order = [number for turn in rounds for number in turn if number is not None]
        return {number: position for position, number in enumerate(order, 1)}
