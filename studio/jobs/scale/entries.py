"""Entries of jobs in Procrastinate's queue, written in the transactions of the job database."""

from collections.abc import Sequence

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from studio.jobs.migration import LOCK
from studio.jobs.tables import JobRow

TASK = "studio.jobs.run"


def create_tables(engine: Engine) -> None:
    """Create the tables of Procrastinate if there are none."""
    from procrastinate.schema import SchemaManager

    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if not inspect(connection).has_table("procrastinate_jobs"):
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(SchemaManager.get_schema())


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
