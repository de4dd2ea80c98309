"""The job database is brought up to date from every earlier version, once."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from studio.jobs import migration, usage
from studio.jobs.job import State
from studio.jobs.store import JobStore, connect
from studio.jobs.tables import Base
from tests.jobs.test_runner import request
from tests.support.server import ROOT

# As version 0.1.0 made them.
TABLES_OF_0_1_0 = """
CREATE TABLE jobs (
    number INTEGER NOT NULL, job_id VARCHAR NOT NULL, file_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL, variant VARCHAR NOT NULL, options JSON NOT NULL,
    fingerprint VARCHAR NOT NULL, state VARCHAR NOT NULL, stage VARCHAR NOT NULL,
    progress FLOAT NOT NULL, eta_s FLOAT, created_at FLOAT NOT NULL, started_at FLOAT,
    finished_at FLOAT, attempts INTEGER NOT NULL, error JSON, result JSON,
    PRIMARY KEY (number), UNIQUE (job_id)
);
CREATE INDEX ix_jobs_file_id ON jobs (file_id);
CREATE INDEX ix_jobs_fingerprint ON jobs (fingerprint);
CREATE INDEX ix_jobs_state ON jobs (state);
INSERT INTO jobs VALUES (1, 'j1', 'f1', 'demucs', 'mini', '{}', 'x', 'completed', 'done', 1.0,
    NULL, 1.0, 2.0, 3.0, 2, NULL, '{"stems": []}');
INSERT INTO jobs VALUES (2, 'j2', 'f1', 'demucs', 'mini', '{}', 'y', 'queued', 'waiting', 0.0,
    NULL, 1.0, NULL, NULL, 0, NULL, NULL);
"""
UPGRADE = """
import sys
from studio.jobs import migration
from studio.jobs.store import connect
migration.upgrade(connect(sys.argv[1]))
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"


def make_0_1_0(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "jobs.sqlite3")) as old:
        old.executescript(TABLES_OF_0_1_0)


def differences(database: str) -> list[object]:
    """What the tables lack, compared with the classes that read them."""
    assert usage.UsageRow.__table__ in Base.metadata.tables.values()
    engine = connect(database)
    with engine.connect() as connection:
        # SQLite has one floating-point type with several names.
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        found = compare_metadata(context, Base.metadata)
    engine.dispose()
    return list(found)


def test_a_database_of_0_1_0_is_brought_up_to_date(database: str, tmp_path: Path) -> None:
    make_0_1_0(tmp_path)
    for _ in range(2):
        store = JobStore(connect(database))
        store.open()
        done, waiting = store.get("j1"), store.get("j2")
        assert done is not None and done.state is State.COMPLETED
        assert (done.result, done.result_id.name, done.client) == ({"stems": []}, "j1", None)
        assert waiting is not None and (waiting.state, waiting.place) == (State.QUEUED, 1)
        store.close()
    store = JobStore(connect(database))
    store.add(request(), client="ann", webhook="https://receiver.example")
    assert (store.count_active("ann"), store.count_active("bob")) == (1, 0)
    claimed = store.claim()
    assert claimed is not None and (claimed.job_id, claimed.attempt) == ("j2", 1)
    store.close()
    assert differences(database) == []


def test_a_new_database_has_the_tables_of_the_classes(database: str) -> None:
    store = JobStore(connect(database))
    store.open()
    store.close()
    assert differences(database) == []


def test_the_latest_version_is_that_of_the_last_module() -> None:
    folder = str(ROOT / "studio" / "jobs" / "migrations")
    assert ScriptDirectory(folder, version_locations=[folder]).get_heads() == [migration.LATEST]


def test_servers_that_start_at_once_upgrade_once(database: str, tmp_path: Path) -> None:
    make_0_1_0(tmp_path)
    command = [sys.executable, "-c", UPGRADE, database]
    started = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert differences(database) == []


def test_a_database_of_a_newer_version_is_left_alone(database: str, tmp_path: Path) -> None:
    engine = connect(database)
    migration.upgrade(engine)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
        newer.commit()
    with pytest.raises(migration.NewerDatabase, match="9999"):
        migration.upgrade(engine)
    engine.dispose()
