"""Keeps a server that runs jobs on its own threads apart from others with the same database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, func, select

LOCK = 0x5354_5544_0004


class DatabaseInUse(Exception):
    """Other servers use the database in another way."""


@contextmanager
def presence(engine: Engine, *, is_alone: bool) -> Iterator[None]:
    """Hold the database alone, or together with others that do not, while the block runs.

    Does nothing for SQLite, whose file lies in a folder with a lock. Raises DatabaseInUse.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    take = func.pg_try_advisory_lock if is_alone else func.pg_try_advisory_lock_shared
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if not connection.scalar(select(take(LOCK))):
            raise DatabaseInUse(
                "another server uses it. A server with ROLE=all needs a database of its own; "
                "servers with the roles web, worker and keeper share one"
            )
        yield
        connection.invalidate()
