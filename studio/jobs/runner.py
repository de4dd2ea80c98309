"""Runs jobs from a bounded queue on background threads; clients take turns."""

import logging
import time
from collections.abc import Callable, Mapping
from threading import Condition, Event, Thread
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from studio.errors import (
    InternalError,
    Interrupted,
    NothingToCancel,
    QueueFull,
    StudioError,
    TooManyJobs,
)
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.store import ACTIVE, JobStore

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10
REPORT_EVERY_S = 0.2
# Between attempts to read from or write to a database that fails.
RETRY_S = 1.0
# How often to look for rows in the state "processing" that no thread works on.
RECOVER_EVERY_S = 60.0

Work = Callable[[Job, Report], dict[str, Any]]
"""Runs a job, given its record and a function `report(stage, progress)`; returns its result."""


class _Ended(Exception):
    """Raised by `report` to end a job that was canceled, or because the server stops."""


class _Running:
    """A running job: stores its progress, and ends it on request."""

    def __init__(
        self,
        job: Job,
        store: JobStore,
        notify: Callable[[], None],
        give_way: Callable[[], None],
    ) -> None:
        self.job = job
        self._give_way = give_way
        self.end = Event()
        self._store = store
        self._notify = notify
        self._stage = ""
        self._since: tuple[float, float] = (0.0, 0.0)
        self._reported_s = 0.0

    def report(self, stage: str, progress: float) -> None:
        if self.end.is_set():
            raise _Ended
        self._give_way()
        now_s = time.monotonic()
        if stage != self._stage:
            self._since = (now_s, progress)
        elif now_s - self._reported_s < REPORT_EVERY_S:
            return
        self._stage, self._reported_s = stage, now_s
        try:
            self._store.report(self.job.job_id, stage, progress, self._eta_s(now_s, progress))
        except SQLAlchemyError:
            # Do not lose the job for its progress; `_finish` waits for the database.
            log.warning("could not store the progress of job %s", self.job.job_id, exc_info=True)
        self._notify()

    def _eta_s(self, now_s: float, progress: float) -> float | None:
        """Seconds remaining at the speed of this stage; None if not yet known."""
        since_s, from_progress = self._since
        gained = progress - from_progress
        return (now_s - since_s) / gained * (1.0 - progress) if gained > 0 else None


class JobRunner:
    """Takes jobs from the store and runs them with `work[model]` on `workers` threads.

    `discard` removes the results that a job published before it was canceled. `give_way` is called
    between the steps of a job and blocks while more urgent work needs the CPU. One client may have
    `max_per_client` unfinished jobs (0: no limit). `on_end` is called with every job that has ended
    and must not block.
    """

    def __init__(
        self,
        store: JobStore,
        work: Mapping[str, Work],
        discard: Callable[[Job], None],
        *,
        workers: int,
        most_queued: int,
        give_way: Callable[[], None] = lambda: None,
        max_per_client: int = 0,
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._on_end = on_end
        self._max_per_client = max_per_client
        self._give_way = give_way
        self._work = work
        self._discard = discard
        self._workers = workers
        self._most_queued = most_queued
        self._changed = Condition()
        self._changes = 0
        self._running: dict[str, _Running] = {}
        self._threads: list[Thread] = []
        self._recovered_s = 0.0
        self._stopping = False

    def start(self) -> None:
        """Queue the jobs that a crash interrupted, and start the threads."""
        self._recover()
        for number in range(self._workers):
            thread = Thread(target=self._loop, name=f"job-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop: running jobs end at their next report and are queued again."""
        with self._changed:
            self._stopping = True
            for running in self._running.values():
                running.end.set()
            self._announce()
        for thread in self._threads:
            thread.join(timeout_s)

    def submit(
        self, request: Request, client: str | None = None, webhook: str | None = None
    ) -> Job:
        """Queue a job, or return the unfinished one for the same request.

        `webhook` is a URL that receives a request when the job ends.
        """
        with self._changed:
            for job in self._store.with_fingerprint(request.fingerprint, ACTIVE):
                if job.request.file_id == request.file_id:
                    if webhook is not None:
                        self._store.add_webhook(job.job_id, webhook, client)
                    return job
            if self._store.count(State.QUEUED) >= self._most_queued:
                raise QueueFull(
                    f"The queue is full: {self._most_queued} jobs are waiting. Retry after "
                    f"{RETRY_AFTER_S} s.",
                    retry_after_s=RETRY_AFTER_S,
                )
            if client is not None and 0 < self._max_per_client <= self._store.count_active(client):
                raise TooManyJobs(
                    f"You have {self._max_per_client} unfinished jobs, which is the maximum. "
                    "Wait until one ends, or cancel one (POST /cancel/<file_id>).",
                    retry_after_s=RETRY_AFTER_S,
                )
            job = self._store.add(request, client=client, webhook=webhook)
            self._announce()
            return job

    def cancel(self, file_id: str) -> None:
        """Cancel the queued and running jobs of a file. Raises NothingToCancel."""
        with self._changed:
            canceled = self._store.cancel_queued(file_id)
            for running in self._running.values():
                if running.job.request.file_id == file_id:
                    if self._store.finish(running.job.job_id, State.CANCELED):
                        canceled.append(running.job.job_id)
                    running.end.set()
            self._announce()
        for job_id in canceled:
            self._notify_end(job_id)
        if not canceled:
            raise NothingToCancel(f"The file {file_id} has no queued or processing job.")

    def while_idle(self, file_id: str, act: Callable[[], None]) -> None:
        """Call `act` unless an unfinished job uses the file, and add no job meanwhile."""
        with self._changed:
            if not any(_uses(job, file_id) for job in self._store.active()):
                act()

    def wait(
        self, job_id: str, timeout_s: float, until: Callable[[], bool] = lambda: False
    ) -> None:
        """Return when the job has ended or is gone, or after `timeout_s`.

        `until` is called whenever a job reports; the wait also ends when it returns True.
        """
        ends_s = time.monotonic() + timeout_s
        with self._changed:
            while (left_s := ends_s - time.monotonic()) > 0:
                job = self._store.get(job_id)
                if job is None or job.state.is_final or self._stopping or until():
                    return
                self._changed.wait(min(left_s, 1.0))

    @property
    def is_stopping(self) -> bool:
        """Whether the runner is stopping: no further job will end."""
        return self._stopping

    def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """Return when any job has changed since change number `seen`, or after `timeout_s`.

        Returns the number of the latest change. Changes by other processes are not noticed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._changes != seen or self._stopping, timeout_s)
            return self._changes

    def _announce(self) -> None:
        """Wake all threads that wait for a change. The caller holds `_changed`."""
        self._changes += 1
        self._changed.notify_all()

    def _recover(self) -> None:
        """Queue jobs again whose row says "processing" but that no thread works on."""
        error = Interrupted(
            "The server stopped several times while this job was running. Check the server log, "
            "then start the job again."
        )
        self._store.recover(describe(error), list(self._running))
        self._recovered_s = time.monotonic()

    def _finish(self, job_id: str, state: State, **values: Any) -> bool:
        """Set the terminal state. Returns False if the job already had one.

        Retries while the database cannot be written; a full database accepts no other job either.
        Raises OperationalError if the runner stops.
        """
        is_logged = False
        while True:
            try:
                is_first = self._store.finish(job_id, state, **values)
                break
            except OperationalError:
                if not is_logged:
                    log.exception("cannot store the final state of job %s; retrying", job_id)
                is_logged = True
                with self._changed:
                    if self._stopping:
                        raise
                    self._changed.wait(RETRY_S)
        if is_first:
            self._notify_end(job_id)
        return is_first

    def _notify_end(self, job_id: str) -> None:
        job = self._store.get(job_id)
        if job is not None:
            self._on_end(job)

    def _notify(self) -> None:
        with self._changed:
            self._announce()

    def _loop(self) -> None:
        while (running := self._next()) is not None:
            try:
                self._do(running)
            except Exception:
                log.exception("could not store the outcome of job %s", running.job.job_id)
            finally:
                with self._changed:
                    del self._running[running.job.job_id]
                    self._announce()

    def _next(self) -> _Running | None:
        """Wait for the next job; None if the runner stops."""
        with self._changed:
            while not self._stopping:
                try:
                    if time.monotonic() - self._recovered_s > RECOVER_EVERY_S:
                        self._recover()
                    job = self._store.claim()
                except Exception:
                    log.exception("cannot read jobs from the database; retrying")
                    self._changed.wait(RETRY_S)
                    continue
                if job is not None:
                    running = _Running(job, self._store, self._notify, self._give_way)
                    self._running[job.job_id] = running
                    return running
                self._changed.wait(RECOVER_EVERY_S)
            return None

    def _do(self, running: _Running) -> None:
        job = running.job
        log.info("job %s: starting %s %s", job.job_id, job.request.model, job.request.variant)
        try:
            result = self._work[job.request.model](job, running.report)
        except _Ended:
            self._requeue_if_stopping(job)
        except Exception as error:
            if running.end.is_set():
                # A canceled job may find its files removed.
                log.info("job %s was told to end: %s", job.job_id, error)
                self._requeue_if_stopping(job)
            else:
                self._fail(job, error)
        else:
            if not self._finish(job.job_id, State.COMPLETED, result=result):
                self._discard(job)
        log.info("job %s ended", job.job_id)

    def _requeue_if_stopping(self, job: Job) -> None:
        if self._stopping:
            self._store.requeue(job.job_id)

    def _fail(self, job: Job, error: Exception) -> None:
        """Store why a job failed; an error that is not a StudioError is a bug."""
        if isinstance(error, StudioError):
            log.info("job %s failed: %s", job.job_id, error.sentence)
            self._finish(job.job_id, State.FAILED, error=describe(error))
            return
        log.error("job %s failed", job.job_id, exc_info=error)
        failure = InternalError(
            f"The job failed because of a bug in the server ({type(error).__name__}). Its log has "
            f"the details for job {job.job_id}."
        )
        self._finish(job.job_id, State.FAILED, error=describe(failure))


def _uses(job: Job, file_id: str) -> bool:
    return file_id == job.request.file_id or file_id in job.request.options.values()


def describe(error: StudioError) -> dict[str, Any]:
    """An error as it is stored with a job and shown to callers."""
    return {"code": error.code, "error": error.sentence, **error.extra}
