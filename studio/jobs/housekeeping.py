"""Deletes old uploads with their results, and leftovers of crashes.

Runs at startup and then periodically, on its own thread.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from studio.errors import UnknownFile
from studio.jobs.job import State
from studio.jobs.jobs import Jobs
from studio.jobs.outbox import Outbox
from studio.jobs.store import JobStore
from studio.storage.results import ResultId
from studio.storage.storage import Storage
from studio.storage.uploads import UnreadableRecord

log = logging.getLogger(__name__)

EVERY_S = 600.0
HOUR_S = 3600.0
TEMPORARY_S = HOUR_S
# After a larger change, the clock is not trusted until it has been stable for this long.
MAX_JUMP_S = 600.0
TRUSTED_AFTER_S = 86_400.0


def steady_s() -> float:
    """Seconds of a monotonic clock; on Linux it includes the time in suspend."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Housekeeper:
    """Cleans up the folders of a server. `retention_h` 0 keeps uploads for ever.

    The age of an upload counts from its arrival or the end of its latest job; that of a temporary
    one also from its last use, and its limit is TEMPORARY_S. An upload with an unfinished job is
    never old.
    """

    def __init__(
        self,
        storage: Storage,
        store: JobStore,
        runner: Jobs,
        outbox: Outbox,
        retention_h: float,
        *,
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
        self._clock_changed_s: float | None = None
        # Whether the database knows a result of the storage.
        self._knows_results = False
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
        """Delete old uploads, then orphans; nothing while the clock is not trusted."""
        if not self._clock_is_trusted():
            return
        now = self._clock()
        kept_from = now - self._retention_s if self._retention_s else 0.0
        for file_id in self._storage.arrived_before(kept_from, now - TEMPORARY_S):
            if self._stopping.is_set():
                return
            self._remove_if_old(file_id)
        self._storage.orphans.remove(self._clock())
        self._remove_results_without_a_job()
        self._forget_files_that_are_gone()
        self._outbox.remove_orphans()

    def _clock_is_trusted(self) -> bool:
        """Whether the clock has not changed recently; otherwise all files may look old."""
        offset_s, steady_s = self._clock() - self._steady(), self._steady()
        jump_s = offset_s - self._offset_s
        if abs(jump_s) <= MAX_JUMP_S:
            self._offset_s, self._clock_changed_s = offset_s, None
            return True
        if self._clock_changed_s is None:
            self._clock_changed_s = steady_s
            log.warning(
                "the system clock changed by %.0f s; nothing is deleted by age until it has been "
                "stable for %.0f h or the server restarts",
                jump_s,
                TRUSTED_AFTER_S / HOUR_S,
            )
        if steady_s - self._clock_changed_s < TRUSTED_AFTER_S:
            return False
        self._offset_s, self._clock_changed_s = offset_s, None
        return True

    def _remove_results_without_a_job(self) -> None:
        """Delete results whose job is unknown, failed or canceled, or completed by a later attempt.

        A crash between publishing results and ending the job leaves such results. As long as the
        database knows none of the results, it may be new or a different one, and unknown results
        are kept. All are kept if there is no upload.
        """

        def choose(results: Sequence[ResultId]) -> list[ResultId]:
            # The storage has listed them before, so jobs added in the meantime are known.
            states = self._store.states_by_result(results)
            shared = self._store.shared_results(results)
            self._knows_results = self._knows_results or State.COMPLETED in states.values()
            useless = {State.FAILED, State.CANCELED, *([None] if self._knows_results else [])}
            return [
                one for one in results if one.key not in shared and states.get(one.name) in useless
            ]

        # The ages count from here: if this process is frozen below, jobs may complete that were
        # not in `states`.
        now = self._clock()
        if not self._storage.is_empty():
            self._storage.orphans.remove_results(choose, now)

    def _forget_files_that_are_gone(self) -> None:
        """Delete the jobs of deleted files, unless there is no upload at all."""
        for known in self._store.file_ids():
            if self._storage.is_empty():
                return
            for file_id in set(known) - self._storage.existing(known):
                self._runner.while_idle(file_id, partial(self._store.forget_file, file_id))

    def _remove_if_old(self, file_id: str) -> None:
        hidden: list[Callable[[], None]] = []

        def hide() -> None:
            # A job may have ended since the first check.
            if self._is_old(file_id):
                hidden.append(self._storage.hide(file_id))
                self._store.forget_file(file_id)
                log.info("deleted the unused file %s", file_id)

        try:
            if self._is_old(file_id):
                self._runner.while_idle(file_id, hide)
        except UnknownFile:
            # Its owner has deleted it.
            return
        except (UnreadableRecord, OSError, SQLAlchemyError) as error:
            # The other files are still cleaned up.
            log.error("cannot clean up the file %s: %s", file_id, error.__cause__ or error)
        finally:
            # No job can begin or be canceled during `while_idle`, so it must not wait for a disk.
            # On a full disk, this makes the space that the database needs.
            for delete in hidden:
                delete()

    def _is_old(self, file_id: str) -> bool:
        """Whether an upload has been unused for the retention time.

        Raises UnknownFile or UnreadableRecord.
        """
        upload = self._storage.upload(file_id)
        limits_s = [self._retention_s] if self._retention_s else []
        last = upload.created_at
        if upload.is_temporary:
            limits_s.append(TEMPORARY_S)
            last = max(last, self._storage.used_at(file_id))
        if not limits_s or self._clock() - last < min(limits_s):
            return False
        jobs = self._store.of_file(file_id)
        last = max(last, *(job.finished_at or job.created_at for job in jobs), 0.0)
        return self._clock() - last >= min(limits_s)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.sweep()
            except Exception:
                log.exception("error in housekeeping; continuing")
            self._stopping.wait(self._every_s)
