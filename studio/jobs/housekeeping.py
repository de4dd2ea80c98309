"""Removes what nobody needs any more: old uploads with their results, and what was left half-made.

Runs at the start and then periodically, on a thread of its own.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

from studio.errors import UnknownFile
from studio.jobs.job import State
from studio.jobs.outbox import Outbox
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from studio.storage.files import Storage

log = logging.getLogger(__name__)

EVERY_S = 600.0
HOUR_S = 3600.0
# A clock that is set by more is not believed until it has gone on for so long.
MOST_JUMP_S = 600.0
BELIEVED_AFTER_S = 86_400.0


def steady_s() -> float:
    """Seconds of a clock that nobody sets; on Linux it also goes on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Housekeeper:
    """Keeps the folders of a server. `retention_h` is 0 where uploads stay for ever.

    An upload is as old as the last thing that happened to it: its arrival, or the end of its
    latest job. One with a job that waits or runs is in use, however old.
    """

    def __init__(
        self,
        storage: Storage,
        store: JobStore,
        runner: JobRunner,
        outbox: Outbox,
        retention_h: float,
        clock: Callable[[], float] = time.time,
        every_s: float = EVERY_S,
        steady: Callable[[], float] = steady_s,
    ) -> None:
        self._storage = storage
        self._store = store
        self._runner = runner
        self._outbox = outbox
        self._retention_s = retention_h * HOUR_S
        self._clock = clock
        self._every_s = every_s
        self._steady = steady
        self._offset_s = clock() - steady()
        self._set_s: float | None = None
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        self._thread = Thread(target=self._loop, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)

    def sweep(self) -> None:
        """Remove what is old, then what belongs to nothing; nothing while the clock is in doubt."""
        if not self._clock_is_believed():
            return
        if self._retention_s:
            for file_id in self._storage.file_ids():
                if self._stopping.is_set():
                    return
                self._remove_if_old(file_id)
        self._storage.remove_orphans(self._clock())
        self._remove_results_without_a_job()
        self._forget_files_that_are_gone()
        self._outbox.remove_orphans()

    def _clock_is_believed(self) -> bool:
        """Whether the clock was not set lately: by it, all files may look old."""
        offset_s, steady_s = self._clock() - self._steady(), self._steady()
        jump_s = offset_s - self._offset_s
        if abs(jump_s) <= MOST_JUMP_S:
            self._offset_s, self._set_s = offset_s, None
            return True
        if self._set_s is None:
            self._set_s = steady_s
            log.warning(
                "the clock was set by %.0f s; nothing is removed by age until it has gone on for "
                "%.0f h, or the server is started again",
                jump_s,
                BELIEVED_AFTER_S / HOUR_S,
            )
        if steady_s - self._set_s < BELIEVED_AFTER_S:
            return False
        self._offset_s, self._set_s = offset_s, None
        return True

    def _remove_results_without_a_job(self) -> None:
        """Remove results that no job has: their job is not known, or failed, or was canceled.

        A crash leaves them between publishing and the end of the job. Where the database knows of
        none of the results, it is not theirs, but new, or another: unknown ones stay. So do all
        where no upload is there.
        """
        # The disk first: a job that is added meanwhile is then known.
        results = self._storage.results()
        states = self._store.states()
        if not self._storage.file_ids():
            return
        is_theirs = any(states.get(job_id) is State.COMPLETED for _, job_id in results)
        for file_id, job_id in results:
            state = states.get(job_id)
            if state in (State.FAILED, State.CANCELED) or (state is None and is_theirs):
                self._storage.remove_stray_result(file_id, job_id, self._clock())

    def _forget_files_that_are_gone(self) -> None:
        """Forget the jobs of removed files; not where no upload is there, as with their results."""
        known = self._store.file_ids()
        if not self._storage.file_ids():
            return
        for file_id in known:
            if not self._storage.has(file_id):
                self._runner.while_idle(file_id, partial(self._store.forget_file, file_id))

    def _remove_if_old(self, file_id: str) -> None:
        def remove() -> None:
            # A job may have ended since it was looked at.
            if self._is_old(file_id):
                self._storage.remove(file_id)
                self._store.forget_file(file_id)
                log.info("removed the file %s, which nobody has used for long", file_id)

        try:
            if self._is_old(file_id):
                self._runner.while_idle(file_id, remove)
        except UnknownFile:
            # Its owner was faster.
            return

    def _is_old(self, file_id: str) -> bool:
        """Whether nothing has happened to an upload for long. Raises UnknownFile."""
        jobs = self._store.of_file(file_id)
        last = max(
            self._storage.upload(file_id).created_at,
            *(job.finished_at or job.created_at for job in jobs),
            0.0,
        )
        return self._clock() - last >= self._retention_s

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.sweep()
            except Exception:
                log.exception("housekeeping goes on after a defect")
            self._stopping.wait(self._every_s)
