"""The job database is brought up to date from every earlier version, once."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from scripts.services.postgres import Postgres
from studio.jobs import migration
from studio.jobs.database import connect
from studio.jobs.job import State
from studio.jobs.scale.entries import UNNOTED
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.store import JobStore
from studio.jobs.tables import Base
from tests.support.jobs import request
from tests.support.server import ROOT, WAIT_S

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
NEWER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{latest}"
{oldest}
def upgrade():
    op.add_column("jobs", sa.Column("mood", sa.String, nullable=False, server_default="calm"))
"""
UPGRADE = """
import sys
from studio.jobs import migration
from studio.jobs.database import connect
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
        _, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, errors
    assert differences(database) == []


def upgrade_by_a_newer_program(folder: Path, url: str, oldest: str) -> None:
    """A copy of this program with one more version of the tables upgrades them."""
    copy = folder / "studio"
    shutil.copytree(ROOT / "studio", copy, ignore=shutil.ignore_patterns("static", "pretrained"))
    migrations, code = copy / "jobs" / "migrations", copy / "jobs" / "migration.py"
    (migrations / "v9999_mood.py").write_text(NEWER.format(latest=migration.LATEST, oldest=oldest))
    latest = f'LATEST = "{migration.LATEST}"'
    assert latest in code.read_text()
    code.write_text(code.read_text().replace(latest, 'LATEST = "9999"'))
    subprocess.run([sys.executable, "-c", UPGRADE, url], cwd=folder, check=True, timeout=WAIT_S)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, database: str) -> str:
    if request.param == "sqlite":
        return database
    postgres: Postgres = request.getfixturevalue("postgresql")
    return postgres.new_database(f"test{uuid4().hex}")


OLD_QUEUE = "03.02.00_50_post_batch_defer_jobs.sql"
FUNCTIONS = "SELECT proname FROM pg_proc WHERE proname LIKE 'procrastinate%' ORDER BY 1"
NOTED = "SELECT obj_description('procrastinate_jobs'::regclass, 'pg_class')"


def queue_of_an_older_procrastinate(url: str) -> Engine:
    """Its tables, as an earlier version of the server would have created them."""
    from procrastinate.schema import SchemaManager

    engine = connect(url)
    for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
        if file.name <= OLD_QUEUE:
            with engine.begin() as connection:
                statements = file.read_text("utf-8")
                connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
    with engine.begin() as connection:
        connection.execute(text(f"COMMENT ON TABLE procrastinate_jobs IS '{OLD_QUEUE}'"))
    return engine


@pytest.mark.postgres
def test_the_queue_is_brought_up_to_date(postgresql: Postgres) -> None:
    """In two steps: the first one suits processes with the older Procrastinate too."""
    old = queue_of_an_older_procrastinate(postgresql.new_database(f"test{uuid4().hex}"))
    new = connect(postgresql.new_database(f"test{uuid4().hex}"))
    SharedJobStore(new).open()
    for is_last, last in ((False, "03.04.00_01_pre"), (False, "03.04.00_01_pre"), (True, UNNOTED)):
        store = SharedJobStore(old, is_last=is_last)
        store.open()
        store.submit(request(f"{uuid4().hex}"), None, None)
        with old.connect() as connection:
            assert connection.scalar(text(NOTED)).startswith(last)
    with old.connect() as migrated, new.connect() as created:
        assert migrated.scalar(text(NOTED)) == created.scalar(text(NOTED))
        functions = migrated.scalars(text(FUNCTIONS)).all()
        assert functions == created.scalars(text(FUNCTIONS)).all() != []
    # Tables of the first versions of the server have no comment.
    with new.begin() as connection:
        connection.execute(text("COMMENT ON TABLE procrastinate_jobs IS NULL"))
    SharedJobStore(new, is_last=True).open()
    for engine in (old, new):
        engine.dispose()


def test_a_program_uses_newer_tables_that_suit_it(either: str, tmp_path: Path) -> None:
    """One that runs goes on, and one that is started later works too."""
    running = JobStore(connect(either))
    running.open()
    before = [running.add(request(f"before {number}")) for number in range(6)]
    upgrade_by_a_newer_program(tmp_path, either, f'oldest_program = "{migration.LATEST}"')
    started = JobStore(connect(either))
    started.open()
    after = [running.add(request("running")), started.add(request("started"))]
    for job, store in zip([*before, *after], [running, started] * 4, strict=True):
        claimed = store.claim()
        assert claimed is not None and claimed.job_id == job.job_id
        assert store.finish(claimed, State.COMPLETED, result={})
    for store in (running, started):
        assert store.count(State.COMPLETED) == len(before) + len(after)
        store.close()


def test_newer_tables_that_do_not_suit_a_program_are_left_alone(
    database: str, tmp_path: Path
) -> None:
    upgrade_by_a_newer_program(tmp_path, database, "")
    engine = connect(database)
    with pytest.raises(migration.NewerDatabase, match="9999"):
        migration.upgrade(engine)
    engine.dispose()


def test_each_version_names_the_oldest_program_that_can_use_it() -> None:
    """Alembic sorts them by their links, and `migration` by their names."""
    folder = str(ROOT / "studio" / "jobs" / "migrations")
    scripts = list(ScriptDirectory(folder, version_locations=[folder]).walk_revisions())
    names = [script.revision for script in scripts]
    oldest = [getattr(script.module, "oldest_program", script.revision) for script in scripts]
    assert names == sorted(names, reverse=True) and oldest == sorted(oldest, reverse=True)
    assert all(map(str.__le__, oldest, names))
