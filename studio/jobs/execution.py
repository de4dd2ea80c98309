"""Does one job: runs the model, stores the progress, and sets the final state."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from studio.errors import InternalError, StorageUnavailable, StudioError
from studio.jobs import faults
from studio.jobs.job import Job, Report, State
from studio.jobs.store import JobStore

log = logging.getLogger(__name__)

REPORT_EVERY_S = 0.2
# Between attempts to use a database or an object store that fails.
RETRY_S = 1.0
# How long a job that cannot read its files waits for them.
WAIT_FOR_FILES_S = 3600.0

Work = Callable[[Job, Report], dict[str, Any]]
"""Runs a job, given its record and a function `report(stage, progress)`; returns its result."""


class Ended(Exception):
    """Raised by `report` to end an attempt: it was canceled or fenced, or the process stops."""


class Attempt:
    """An attempt of a job: stores its progress, and ends when `end` is set.

    It also ends if its row says that the job was canceled, deleted or given to another attempt.
    """

    def __init__(
        self,
        job: Job,
        store: JobStore,
        give_way: Callable[[], None],
        on_report: Callable[[], None],
        report_every_s: float,
    ) -> None:
        self.job = job
        self.end = Event()
        self._store = store
        self._give_way = give_way
        self._on_report = on_report
        self._report_every_s = report_every_s
        self._stage = ""
        self._since: tuple[float, float] = (0.0, 0.0)
        self._reported_s = 0.0

    def report(self, stage: str, progress: float) -> None:
        if self.end.is_set():
            raise Ended
        self._give_way()
        now_s = time.monotonic()
        if stage != self._stage:
            self._since = (now_s, progress)
        elif now_s - self._reported_s < self._report_every_s:
            return
        self._stage, self._reported_s = stage, now_s
        try:
            is_ours = self._store.report(self.job, stage, progress, self._eta_s(now_s, progress))
        except SQLAlchemyError:
            # Do not lose the job for its progress; its end waits for the database.
            log.warning("could not store the progress of job %s", self.job.job_id, exc_info=True)
        else:
            if not is_ours:
                self.end.set()
                raise Ended
        self._on_report()

    def _eta_s(self, now_s: float, progress: float) -> float | None:
        """Seconds remaining at the speed of this stage; None if not yet known."""
        since_s, from_progress = self._since
        gained = progress - from_progress
        return (now_s - since_s) / gained * (1.0 - progress) if gained > 0 else None


class Executor:
    """Does jobs with `work[model]`.

    `discard` removes the results of an attempt that no longer owns its job. `give_way` is called
    between the steps of a job and blocks while more urgent work needs the CPU. `on_end` must not
    block. It is called with every job that has ended, and again when the attempt of a canceled one
    ends.
    """

    def __init__(
        self,
        store: JobStore,
        work: Mapping[str, Work],
        discard: Callable[[Job], None],
        *,
        give_way: Callable[[], None] = lambda: None,
        on_end: Callable[[Job], None] = lambda _: None,
        report_every_s: float = REPORT_EVERY_S,
    ) -> None:
        self._store = store
        self._work = work
        self._discard = discard
        self._give_way = give_way
        self._on_end = on_end
        self._report_every_s = report_every_s
        self._stopping = Event()

    def attempt(self, job: Job, on_report: Callable[[], None] = lambda: None) -> Attempt:
        """An attempt of a claimed job, for `run`. `on_report` is called after every report."""
        return Attempt(job, self._store, self._give_way, on_report, self._report_every_s)

    def stop(self) -> None:
        """Return the jobs of attempts that end from now on to the queue."""
        self._stopping.set()

    def run(self, attempt: Attempt) -> None:
        """Do a job on this thread, and store its outcome."""
        job, began_s = attempt.job, time.monotonic()
        log.info("job %s: starting %s %s", job.job_id, job.request.model, job.request.variant)
        try:
            result = self._work_on(attempt)
        except BaseException as error:
            # Also SystemExit, and the PanicException of Rust: they must not end the thread.
            job = replace(job, worked_s=time.monotonic() - began_s)
            if attempt.end.is_set():
                # A canceled job may find its files removed.
                log.info("job %s was asked to stop: %r", job.job_id, error)
                self._requeue_if_stopping(job)
                has_ended = False
            else:
                has_ended = self._fail(job, error)
        else:
            job = replace(job, worked_s=time.monotonic() - began_s)
            has_ended = self._finish(job, State.COMPLETED, result=result)
            if not has_ended:
                # If they cannot be deleted now, the next sweep removes them.
                with suppress(StorageUnavailable):
                    self._discard(job)
        if not has_ended:
            self._notify_if_canceled(job)
        log.info("job %s ended", job.job_id)

    def _work_on(self, attempt: Attempt) -> dict[str, Any]:
        """Do the work, again if the database or the object store did not respond."""
        job, ends_s = attempt.job, time.monotonic() + WAIT_FOR_FILES_S
        while True:
            try:
                return self._work[job.request.model](job, attempt.report)
            except (OperationalError, StorageUnavailable) as error:
                known = error if isinstance(error, StudioError) else faults.as_studio_error(error)
                if "retry_after_s" not in known.extra or time.monotonic() > ends_s:
                    raise known from error
                log.warning("job %s waits for its files: %s", job.job_id, error)
            attempt.end.wait(RETRY_S)
            attempt.report("waiting for files", 0.0)

    def notify_end(self, job_id: str, worked_s: float | None = None) -> None:
        """Call `on_end` with a job that has ended."""
        job = self._store.get(job_id)
        if job is not None:
            self._on_end(replace(job, worked_s=worked_s))

    def _notify_if_canceled(self, job: Job) -> None:
        """Call `on_end` with the measured time of a job that was canceled, and perhaps deleted."""
        stored = self._store.get(job.job_id)
        if stored is None or (stored.attempt, stored.state) == (job.attempt, State.CANCELED):
            self._on_end(job)

    def _finish(self, job: Job, state: State, **values: Any) -> bool:
        """Set the terminal state. Returns False if the attempt no longer owns the job.

        Retries while the database cannot be written; a full database accepts no other job either.
        Raises OperationalError if the process stops.
        """
        is_repeated = False
        while True:
            try:
                is_first = self._store.finish(job, state, **values)
                # The database may have stored it before its answer was lost.
                is_first = is_first or (is_repeated and self._has_ended(job, state))
                break
            except OperationalError:
                if not is_repeated:
                    log.exception("cannot store the final state of job %s; retrying", job.job_id)
                is_repeated = True
                if self._stopping.wait(RETRY_S):
                    raise
        if is_first:
            self.notify_end(job.job_id, job.worked_s)
        return is_first

    def _has_ended(self, job: Job, state: State) -> bool:
        """Whether this attempt of a job has ended in this state."""
        stored = self._store.get(job.job_id)
        return stored is not None and (stored.attempt, stored.state) == (job.attempt, state)

    def _requeue_if_stopping(self, job: Job) -> None:
        if self._stopping.is_set():
            self._store.requeue(job)

    def _fail(self, job: Job, error: BaseException) -> bool:
        """Store why a job failed; an error that is not a StudioError is a bug.

        Returns False if the attempt no longer owns the job.
        """
        if isinstance(error, StudioError):
            log.info("job %s failed: %s", job.job_id, error.sentence)
            return self._finish(job, State.FAILED, error=describe(error))
        log.error("job %s failed", job.job_id, exc_info=error)
        failure = InternalError(
            f"The job failed because of a bug in the server ({type(error).__name__}). Its log has "
            f"the details for job {job.job_id}."
        )
        return self._finish(job, State.FAILED, error=describe(failure))


def describe(error: StudioError) -> dict[str, Any]:
    """An error as it is stored with a job and shown to callers."""
    return {"code": error.code, "error": error.sentence, **error.extra}
