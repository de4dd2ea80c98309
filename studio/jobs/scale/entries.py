"""Entries of jobs in Procrastinate's queue, written in the transactions of the job database."""

import logging
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from studio.jobs.migration import LOCK
from studio.jobs.tables import JobRow

log = logging.getLogger(__name__)

TASK = "studio.jobs.run"
# The last migration of tables that have no comment.
UNNOTED = "03.04.00_50_post_add_retry_failed_job_procedure.sql"


def upgrade_tables(engine: Engine, *, is_last: bool) -> None:
    """Create the tables of Procrastinate, or apply the migrations that they lack.

    Each is a transaction, which notes its name on the tables. Procrastinate's migrations called
    `post` may break processes with an older Procrastinate. They are applied before a later one that
    is not, and at the end if `is_last`: if no such processes run any more.
    """
    while _upgrade_once(engine, is_last):
        pass


def _upgrade_once(engine: Engine, is_last: bool) -> bool:
    """Create the tables, or apply one migration. Returns False if there was nothing to do."""
    from procrastinate.schema import SchemaManager

    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if not inspect(connection).has_table("procrastinate_jobs"):
            _apply(connection, SchemaManager.get_schema(), files[-1].name)
            return True
        noted = connection.scalar(
            text("SELECT obj_description('procrastinate_jobs'::regclass, 'pg_class')")
        )
        missing = [file for file in files if file.name > (noted or UNNOTED)]
        while missing and "_post_" in missing[-1].name and not is_last:
            missing.pop()
        if not missing:
            return False
        log.info("migrating the tables of Procrastinate: %s", missing[0].name)
        _apply(connection, missing[0].read_text("utf-8"), missing[0].name)
        return True


def _apply(connection: Connection, statements: str, name: str) -> None:
    """Execute statements, and note the last migration that they contain."""
    connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
    connection.execute(text(f"COMMENT ON TABLE procrastinate_jobs IS '{name}'"))


def add(session: Session, rows: Sequence[JobRow]) -> None:
    """Give each row an entry for its current attempt. The rows need not be stored yet."""
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Job
    from procrastinate.manager import JobManager
    from procrastinate.sync_psycopg_connector import SyncPsycopgConnector

    if not rows:
        return
    jobs = [
        Job(
            id=None,
            queue=row.queue,
            priority=row.priority,
            lock=None,
            queueing_lock=None,
            task_name=TASK,
            task_kwargs={"job_id": row.job_id, "attempt": row.attempt},
        )
        for row in rows
    ]
    driver = session.connection().connection.driver_connection
    try:
        added = JobManager(SyncPsycopgConnector()).batch_defer_jobs(jobs, connection=driver)
    except ConnectorException as error:
        cause = error.__cause__ or error
        assert isinstance(cause, Exception)
        raise OperationalError("procrastinate_defer_jobs", None, cause) from error
    for row, job in zip(rows, added, strict=True):
        row.entry = job.id
