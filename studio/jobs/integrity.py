"""Makes sure that the job database is whole before the server relies on it."""

import sqlite3

from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedDatabase(Exception):
    """The database cannot be trusted; the text names the file, the damage, and the way back."""


def check(engine: Engine) -> None:
    """Raise DamagedDatabase when an SQLite file is not whole. Other databases look after this."""
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect() as connection:
            found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    except DatabaseError as error:
        # The lowest byte is the kind of the error, the others say more of it.
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
            raise
        found = str(error.orig)
    if found != "ok":
        raise DamagedDatabase(
            f"The job database {engine.url.database} is damaged ({found}). Put the latest backup "
            "in its place, without its -wal and -shm files (docs/operations.md, Restore). With no "
            "backup, move the three files away: uploads stay, and their jobs can be started again."
        )
