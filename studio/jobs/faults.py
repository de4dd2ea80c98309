"""Errors for callers when the job database cannot be read or written."""

import sqlite3
from uuid import uuid4

from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from studio.errors import DiskFull, StorageUnavailable, StudioError
from studio.jobs.tables import ProbeRow

# More than a page, so that the probe needs disk space.
PROBE_BYTES = 1 << 14
RETRY_AFTER_S = 5
# PostgreSQL's read_only_sql_transaction.
READ_ONLY = "25006"
# Its idle_in_transaction_session_timeout.
IDLE_TRANSACTION = "25P03"
# Its lock_not_available.
LOCK_TIMEOUT = "55P03"


def is_read_only(cause: BaseException | None) -> bool:
    """Whether an error of psycopg says that PostgreSQL is read-only."""
    return getattr(cause, "sqlstate", None) == READ_ONLY


def is_away(cause: BaseException | None) -> bool:
    """Whether an error of psycopg is temporary, though it is no OperationalError.

    After a failover, a standby of PostgreSQL is read-only until it is promoted.
    """
    return getattr(cause, "sqlstate", None) in (READ_ONLY, IDLE_TRANSACTION)


def is_lock_timeout(cause: BaseException | None) -> bool:
    """Whether an error of psycopg says that a lock was not free within `lock_timeout`."""
    return getattr(cause, "sqlstate", None) == LOCK_TIMEOUT


def edit_in_progress() -> StorageUnavailable:
    """The error of an edit that has waited too long for another one."""
    return StorageUnavailable(
        f"Another edit has not ended yet. Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )


def as_studio_error(error: SQLAlchemyError) -> StudioError:
    """Turn a database error into one for callers, without its cause, which belongs in the log."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or type(cause).__name__ == "DiskFull":
        return DiskFull("The disk with the job database is full. Try again later.")
    if code == sqlite3.SQLITE_READONLY:
        return StorageUnavailable("The job database is read-only. Try again later.")
    # After a failover, a standby soon becomes the primary.
    return no_response("is read-only" if is_read_only(cause) else "does not respond")


def no_response(problem: str = "does not respond") -> StorageUnavailable:
    """The error of a database that will probably be back soon."""
    return StorageUnavailable(
        f"The job database {problem}. Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )


def check_writable(engine: Engine) -> None:
    """Raise DiskFull or StorageUnavailable if the database cannot be written."""
    probe_id = uuid4().hex
    try:
        with engine.begin() as connection:
            connection.execute(insert(ProbeRow).values(probe_id=probe_id, data="0" * PROBE_BYTES))
        with engine.begin() as connection:
            connection.execute(delete(ProbeRow))
    except SQLAlchemyError as error:
        raise as_studio_error(error) from error
