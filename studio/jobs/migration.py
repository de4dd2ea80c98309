"""Brings the tables of the job database up to date, in one transaction, in SQLite and PostgreSQL.

`studio.jobs.migrations` has a module for each version. One that only adds to the tables names the
oldest version whose programs can go on using them (`oldest_program`), so that the processes of
several machines can be upgraded one after another.
"""

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, text, update

from studio.jobs.tables import OldestProgramRow

# The revision of the last module in `migrations`; a test compares them.
LATEST = "0011"
# Serializes servers that start at the same time on PostgreSQL.
LOCK = 0x5354_5544_0001


class NewerDatabase(Exception):
    """The database belongs to a newer version, and this program cannot use it."""


def upgrade(engine: Engine) -> None:
    """Create the tables, or bring them to the latest version. Raises NewerDatabase."""
    with engine.connect() as connection:
        if _is_usable(connection, _version(connection)):
            return
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # Another server may have upgraded the tables meanwhile.
        version = _version(connection)
        if not _is_usable(connection, version):
            _upgrade(connection, version)


def _version(connection: Connection) -> str | None:
    """The version of the tables; None if there are none, or they are older than migrations."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _is_usable(connection: Connection, version: str | None) -> bool:
    """Whether the tables have the latest version, or a newer one that suits this program."""
    if version is None or version <= LATEST:
        return version == LATEST
    return bool(connection.scalars(select(OldestProgramRow.version)).one() <= LATEST)


def _upgrade(connection: Connection, version: str | None) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    # It logs each of its plugins.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    folder = str(Path(__file__).with_name("migrations"))
    scripts = ScriptDirectory(folder, version_locations=[folder])
    known = [script.revision for script in scripts.walk_revisions()]
    if version is not None and version not in known:
        raise NewerDatabase(
            f"Its tables have version {version}, and this program knows versions up to {LATEST}. "
            "Install the version of the program that wrote them, or a newer one"
        )
    with EnvironmentContext(
        Config(),
        scripts,
        fn=lambda revision, _context: scripts._upgrade_revs(LATEST, revision),
    ) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()
    latest = scripts.get_revision(LATEST)
    assert latest is not None
    oldest = getattr(latest.module, "oldest_program", LATEST)
    connection.execute(update(OldestProgramRow).values(version=oldest))
