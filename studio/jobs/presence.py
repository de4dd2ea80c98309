"""Keeps servers apart that would run the jobs of each other, because they have one database."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

LOCK = 0x5354_5544_0004
# How often to check that the connection still holds the lock.
LOOK_EVERY_S = 5.0
# How long a server that stops may keep the file of its database.
FILE_TIMEOUT_S = 5.0


class DatabaseInUse(Exception):
    """Other servers use the database in another way."""


@contextmanager
def presence(
    engine: Engine, *, is_alone: bool, look_every_s: float = LOOK_EVERY_S
) -> Iterator[None]:
    """Hold the database alone, or together with others that do not, while the block runs.

    A file of SQLite has one server, whatever its role. Raises DatabaseInUse.
    """
    if engine.dialect.name != "postgresql":
        with _file_lock(engine):
            yield
        return
    connection = _take(engine, is_alone)
    ended = Event()
    arguments = (engine, is_alone, connection, ended, look_every_s)
    keeping = Thread(target=_keep, args=arguments, name="presence", daemon=True)
    keeping.start()
    try:
        yield
    finally:
        ended.set()
        keeping.join(10)


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    """Hold a lock beside the file of the database. Raises DatabaseInUse."""
    # Paths that are links to the same file have the same lock.
    path = Path(engine.url.database or "").resolve()
    if not path.is_file():
        # The database is not a file.
        yield
        return
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=FILE_TIMEOUT_S)
    except Timeout:
        raise DatabaseInUse(
            "another server uses it. Stop that server, or give this one a database of its own"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _take(engine: Engine, is_alone: bool) -> Connection:
    """A connection that holds the lock. Raises DatabaseInUse."""
    take = func.pg_try_advisory_lock if is_alone else func.pg_try_advisory_lock_shared
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connect())
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if connection.scalar(select(take(LOCK))):
            opened.pop_all()
            return connection
    raise DatabaseInUse(
        "another server uses it. A server with ROLE=all needs a database of its own; servers with "
        "the roles web, live, worker and keeper share one"
    )


def _keep(
    engine: Engine,
    is_alone: bool,
    taken: Connection | None,
    ended: Event,
    look_every_s: float,
) -> None:
    """Take the lock again whenever its connection was lost, as when PostgreSQL restarts."""
    while not ended.wait(look_every_s):
        try:
            if taken is None:
                taken = _take(engine, is_alone)
            taken.execute(select(1))
        except DatabaseInUse as error:
            log.error("the database is in use: %s. Stop this server or the others", error)
        except SQLAlchemyError as error:
            log.warning("lost the connection that marks the database as in use: %s", error)
            if taken is not None:
                _give_up(taken)
            taken = None
    if taken is not None:
        _give_up(taken)


def _give_up(connection: Connection) -> None:
    """Release the lock, and close its connection for good."""
    # PostgreSQL releases the lock of a closed connection some time later, when it notices.
    with suppress(SQLAlchemyError):
        connection.execute(select(func.pg_advisory_unlock_all()))
    connection.invalidate()
    connection.close()
