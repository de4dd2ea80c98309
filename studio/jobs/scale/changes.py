"""Listens on one connection to PostgreSQL for jobs that have changed."""

import logging
from collections.abc import Callable
from threading import Event, Thread

from sqlalchemy import URL

from studio.jobs.scale.store import CHANNEL

log = logging.getLogger(__name__)

# How often to check whether to stop.
LOOK_EVERY_S = 1.0
RETRY_S = 1.0


def conninfo(url: URL) -> str:
    """The address of a database as libpq reads it, with options such as `sslmode`."""
    from psycopg.conninfo import make_conninfo

    _, arguments = url.get_dialect()().create_connect_args(url)
    return make_conninfo(**arguments)


class Changes:
    """Calls every listener, on its own thread, with the ID of a job that has changed.

    After an interruption it calls them with None: any job may have changed.
    """

    def __init__(self, url: URL) -> None:
        self.conninfo = conninfo(url)
        self._listeners: list[Callable[[str | None], None]] = []
        self._stopping = Event()
        self._thread: Thread | None = None

    def add_listener(self, listener: Callable[[str | None], None]) -> None:
        self._listeners.append(listener)

    def start(self) -> None:
        self._thread = Thread(target=self._loop, name="changes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)

    def _loop(self) -> None:
        import psycopg

        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                log.warning("cannot listen to PostgreSQL, retrying: %s", error)
                self._stopping.wait(RETRY_S)

    def _listen(self) -> None:
        import psycopg

        with psycopg.connect(self.conninfo, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._tell(None)
            while not self._stopping.is_set():
                for notice in connection.notifies(timeout=LOOK_EVERY_S):
                    self._tell(notice.payload)

    def _tell(self, job_id: str | None) -> None:
        for listener in self._listeners:
            try:
                listener(job_id)
            except Exception:
                log.exception("error in a listener for changed jobs; continuing")
