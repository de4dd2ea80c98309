"""Work that one process does for all servers: it rescues jobs of dead workers, and sweeps."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread
from typing import Any

from sqlalchemy.exc import OperationalError

from studio.errors import Interrupted
from studio.jobs.execution import describe
from studio.jobs.job import Job
from studio.jobs.scale.changes import conninfo
from studio.jobs.scale.contact import Contact
from studio.jobs.scale.store import SharedJobStore

log = logging.getLogger(__name__)

# The advisory lock of the active keeper.
LOCK = 0x5354_5544_0003
TAKE = "SELECT pg_try_advisory_lock(%s), clock_timestamp()"
RETRY_S = 1.0
MAX_LOOK_EVERY_S = 5.0

Duties = Callable[[], AbstractContextManager[object]]
"""Starts what runs while this keeper is the active one, and ends it when the block ends."""


class Keeper:
    """Waits until no other keeper is active, then does the duties of one.

    PostgreSQL ends the connection that holds the lock after `stalled_s` without a query, so another
    keeper replaces one that is frozen or cut off. Until such a keeper notices, two are active; each
    duty must allow that.
    `on_end` is called with every job that has failed because its workers died.
    """

    def __init__(
        self,
        store: SharedJobStore,
        duties: Duties,
        on_end: Callable[[Job], None],
        *,
        stalled_s: float,
    ) -> None:
        self._conninfo = conninfo(store.url)
        self._store = store
        self._duties = duties
        self._on_end = on_end
        self._stalled_s = stalled_s
        self._look_every_s = min(MAX_LOOK_EVERY_S, stalled_s / 3)
        self._stopping = Event()
        self._thread = Thread(target=self._loop, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 20.0) -> None:
        self._stopping.set()
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        import psycopg

        while not self._stopping.is_set():
            try:
                self._keep()
            except (psycopg.OperationalError, OperationalError) as error:
                log.warning("the keeper cannot reach PostgreSQL, retrying: %s", error)
            except Exception:
                log.exception("error in the keeper; continuing")
            self._stopping.wait(RETRY_S)

    def _keep(self) -> None:
        """Become the active keeper, and remain it while its connection holds the lock."""
        import psycopg

        with psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        ) as connection:
            lease_ms = round(self._stalled_s * 1000)
            connection.execute(
                "SELECT set_config('idle_session_timeout', %s, false)", (f"{lease_ms}ms",)
            )
            # A rescue may take longer than the pause before it. Workers that were cut off for this
            # long have still sent a heartbeat in time.
            contact = Contact(max(2 * self._look_every_s, self._stalled_s / 3))
            while not self._holds_lock(connection.execute, contact):
                if self._stopping.wait(self._look_every_s):
                    return
            log.info("this keeper is the active one")
            with self._duties():
                while not self._stopping.is_set():
                    connection.execute("SELECT 1")
                    self._rescue(contact)
                    self._stopping.wait(self._look_every_s)

    @staticmethod
    def _holds_lock(execute: Callable[..., Any], contact: Contact) -> bool:
        is_taken, now = execute(TAKE, (LOCK,)).fetchone()
        contact.since(now)
        return bool(is_taken)

    def _rescue(self, contact: Contact) -> None:
        error = Interrupted(
            "The workers stopped several times while they ran this job. Check their logs, then "
            "start the job again."
        )
        for job_id in self._store.rescue(describe(error), self._stalled_s, contact):
            if job := self._store.get(job_id):
                self._on_end(job)
