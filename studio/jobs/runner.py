"""Runs jobs from a bounded queue on background threads; clients take turns."""

import logging
import time
from collections.abc import Callable
from threading import Condition, Thread

from studio.errors import Interrupted
from studio.jobs.execution import Attempt, Executor, describe
from studio.jobs.job import Job, Request, State
from studio.jobs.jobs import check_bounds, nothing_to_cancel, uses
from studio.jobs.store import JobStore

log = logging.getLogger(__name__)

# Between attempts to read from a database that fails.
RETRY_S = 1.0
# How often to look for rows in the state "processing" that no thread works on.
RECOVER_EVERY_S = 60.0


class JobRunner:
    """`Jobs` on `workers` threads of this process, the only one that uses the database.

    One client may have `max_per_client` unfinished jobs (0: no limit).
    """

    def __init__(
        self,
        store: JobStore,
        executor: Executor,
        *,
        workers: int,
        max_queued: int,
        max_per_client: int = 0,
    ) -> None:
        self._store = store
        self._executor = executor
        self._max_per_client = max_per_client
        self._workers = workers
        self._max_queued = max_queued
        self._changed = Condition()
        self._changes = 0
        self._running: dict[str, Attempt] = {}
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
        self._executor.stop()
        with self._changed:
            self._stopping = True
            for attempt in self._running.values():
                attempt.end.set()
            self._announce()
        for thread in self._threads:
            thread.join(timeout_s)

    def submit(
        self, request: Request, client: str | None = None, webhook: str | None = None
    ) -> Job:
        """Queue a job, or return the unfinished one for the same request.

        `webhook` is a URL that receives a request when the job ends. Raises QueueFull or
        TooManyJobs.
        """
        with self._changed:
            if job := self._store.unfinished(request):
                if webhook is not None:
                    self._store.add_webhook(job.job_id, webhook, client)
                return job
            check_bounds(
                self._store.count(State.QUEUED),
                self._max_queued,
                0 if client is None else self._store.count_active(client),
                self._max_per_client,
            )
            job = self._store.add(request, client=client, webhook=webhook)
            self._announce()
            return job

    def cancel(self, file_id: str) -> None:
        """Cancel the queued and running jobs of a file. Raises NothingToCancel."""
        with self._changed:
            canceled = self._store.cancel(file_id)
            for attempt in self._running.values():
                if attempt.job.request.file_id == file_id:
                    attempt.end.set()
            self._announce()
        for job_id in canceled:
            # The attempt that runs it notifies of its time when it ends.
            self._executor.notify_end(job_id, worked_s=0.0)
        if not canceled:
            raise nothing_to_cancel(file_id)

    def while_idle(self, file_id: str, act: Callable[[], None]) -> None:
        """Call `act` unless an unfinished job uses the file; block new jobs until it returns."""
        with self._changed:
            if not any(uses(job, file_id) for job in self._store.active()):
                act()

    def wait(self, job_id: str, timeout_s: float, until: Callable[[], bool] | None = None) -> None:
        """Return when the job has ended or is gone, or after `timeout_s`.

        `until` is called whenever a job reports; the wait also ends when it returns True.
        """
        ends_s = time.monotonic() + timeout_s
        with self._changed:
            while (left_s := ends_s - time.monotonic()) > 0:
                if self._stopping or self._store.has_ended(job_id):
                    return
                if until is not None and until():
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

    def _notify(self) -> None:
        with self._changed:
            self._announce()

    def _loop(self) -> None:
        while (attempt := self._next()) is not None:
            try:
                self._executor.run(attempt)
            except BaseException:
                # Without this thread, no further job would run.
                log.exception("could not store the outcome of job %s", attempt.job.job_id)
            finally:
                with self._changed:
                    del self._running[attempt.job.job_id]
                    self._announce()

    def _next(self) -> Attempt | None:
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
                    attempt = self._executor.attempt(job, self._notify)
                    self._running[job.job_id] = attempt
                    return attempt
                self._changed.wait(RECOVER_EVERY_S)
            return None
