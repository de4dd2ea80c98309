"""Checks the integrity of the job database before the server uses it."""

import sqlite3

from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedDatabase(Exception):
    """The database is damaged. The message names the file, the damage and the remedy."""


def check(engine: Engine) -> None:
    """Raise DamagedDatabase if an SQLite file is damaged. Other databases check this themselves."""
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect() as connection:
            damage = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    except DatabaseError as error:
        # The lowest byte is the primary result code.
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
            raise
        damage = str(error.orig)
    if damage != "ok":
        raise DamagedDatabase(
            f"The job database {engine.url.database} is damaged ({damage}). Replace it with the "
            "latest backup and delete its -wal and -shm files (docs/operations.md, Restore). "
            "Without a backup, move the three files away: uploads are kept, and their jobs can be "
            "started again."
        )
