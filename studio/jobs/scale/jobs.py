"""Jobs that workers on other machines run."""

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Condition, Event

from studio.jobs.job import Job, Request
from studio.jobs.jobs import nothing_to_cancel
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.partials import WRITE_EVERY_S
from studio.jobs.scale.store import SharedJobStore

# How often to read a job, in case a notification was missed.
POLL_EVERY_S = 5.0


class SharedJobs:
    """`Jobs` in the database of `store`. `on_end` is called with jobs that are canceled here."""

    def __init__(
        self, store: SharedJobStore, changes: Changes, on_end: Callable[[Job], None]
    ) -> None:
        self._store = store
        self._changes = changes
        self._on_end = on_end
        self._changed = Condition()
        self._count = 0
        # Those that wait for the end of a job, by its ID.
        self._waiters: dict[str, set[Event]] = {}
        self._stopping = False
        changes.add_listener(self._heard)

    def start(self) -> None:
        self._changes.start()

    def stop(self, _timeout_s: float = 60.0) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            for job_id in self._waiters:
                self._wake(job_id)
        self._changes.stop()

    def submit(
        self, request: Request, client: str | None = None, webhook: str | None = None
    ) -> Job:
        """Queue a job, or return the unfinished one for the same request.

        Raises QueueFull or TooManyJobs.
        """
        return self._store.submit(request, client, webhook)

    def cancel(self, file_id: str) -> None:
        """Cancel the queued and running jobs of a file. Raises NothingToCancel."""
        canceled = self._store.cancel(file_id)
        for job_id in canceled:
            if job := self._store.get(job_id):
                # The worker that runs it counts its time.
                self._on_end(replace(job, worked_s=0.0))
        if not canceled:
            raise nothing_to_cancel(file_id)

    def while_idle(self, file_id: str, act: Callable[[], None]) -> None:
        """Call `act` unless an unfinished job uses the file; block new jobs until it returns."""
        self._store.while_idle(file_id, act)

    def wait(self, job_id: str, timeout_s: float, until: Callable[[], bool] | None = None) -> None:
        """Return when the job has ended or is gone, or after `timeout_s`.

        `until` is called every few seconds; the wait also ends when it returns True.
        """
        poll_every_s = POLL_EVERY_S if until is None else WRITE_EVERY_S
        ends_s = time.monotonic() + timeout_s
        woken = Event()
        with self._changed:
            self._waiters.setdefault(job_id, set()).add(woken)
        try:
            while (left_s := ends_s - time.monotonic()) > 0:
                if self._stopping or self._store.has_ended(job_id):
                    return
                if until is not None and until():
                    return
                # The notification says that the job has ended: the caller reads it next.
                if woken.wait(min(left_s, poll_every_s)):
                    return
        finally:
            with self._changed:
                self._waiters[job_id].remove(woken)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    @property
    def is_stopping(self) -> bool:
        """Whether this server is stopping."""
        return self._stopping

    def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """Return when any job has ended since change number `seen`, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen or self._stopping, timeout_s)
            return self._count

    def _heard(self, job_id: str | None) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
            if job_id is not None:
                self._wake(job_id)

    def _wake(self, job_id: str) -> None:
        for woken in self._waiters.get(job_id, ()):
            woken.set()
