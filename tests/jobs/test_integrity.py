"""The job database is checked at every start; a damaged one stops the server, in clear words."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scripts.services.children import free_port
from studio.jobs.database import connect
from studio.jobs.integrity import DamagedDatabase, check
from studio.jobs.job import Request
from studio.jobs.store import JobStore
from tests.support.server import LAUNCHER, ROOT


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with enough jobs for several pages, its log written back."""
    path = tmp_path / "outputs" / ".jobs.sqlite3"
    path.parent.mkdir()
    store = JobStore(connect(f"sqlite:///{path}"))
    store.open()
    for number in range(60):
        store.add(Request(f"{number:032x}", "demucs", "mini", {"pad": "x" * 200}, str(number)))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size > 5 * 4096
    return path


def overwrite(path: Path, at_byte: int, length: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at_byte)
        file.write(b"\xa5" * length)


def is_refused(path: Path) -> str:
    engine = connect(f"sqlite:///{path}")
    try:
        with pytest.raises(DamagedDatabase) as refused:
            check(engine)
    finally:
        engine.dispose()
    return str(refused.value)


def test_a_whole_database_passes_and_is_in_wal(database: Path) -> None:
    engine = connect(f"sqlite:///{database}")
    check(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_a_new_database_passes(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    check(engine)
    engine.dispose()


@pytest.mark.parametrize(("at_byte", "length"), [(0, 100), (4096, 64), (3 * 4096, 4096)])
def test_damage_is_found_wherever_it_is(database: Path, at_byte: int, length: int) -> None:
    overwrite(database, at_byte, length)
    assert str(database) in is_refused(database)


def test_a_database_that_is_cut_off_is_found(database: Path) -> None:
    os.truncate(database, database.stat().st_size - 2 * 4096)
    assert str(database) in is_refused(database)


@pytest.mark.parametrize("command", [LAUNCHER, [sys.executable, "app.py"]])
def test_the_server_does_not_start_on_it(database: Path, command: list[str]) -> None:
    overwrite(database, 4096, 64)
    environment = {
        **os.environ,
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "UPLOAD_FOLDER": str(database.parent.parent / "uploads"),
        "OUTPUT_FOLDER": str(database.parent),
        "MODEL_DIR": str(database.parent.parent / "weights"),
        "PORT": str(free_port()),
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert f"The server cannot start: The job database {database} is damaged" in done.stderr
    assert "docs/operations.md" in done.stderr and "backup" in done.stderr
    assert "Traceback" not in done.stderr
