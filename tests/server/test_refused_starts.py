"""What keeps a server from starting, and how that is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import ROOT
from scripts.services.children import free_port
from tests.support.server import Server


def start(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python app.py` as a person starts it, expected to end by itself."""
    environment = {
        **os.environ,
        "PORT": str(free_port()),
        "UPLOAD_FOLDER": str(folder / "uploads"),
        "OUTPUT_FOLDER": str(folder / "outputs"),
        **settings,
    }
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_ends_with(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode not in (0, None)
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_bad_value_stops_the_start(tmp_path: Path) -> None:
    done = start(tmp_path, PORT="abc")
    assert_ends_with(done, "The server cannot start: PORT='abc' cannot be used: use a whole number")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "key",
    [
        "DEMUCS_MODEL",
        pytest.param("WHISPER_MODEL", marks=pytest.mark.slow),
        pytest.param("MUSICGEN_MODEL", marks=pytest.mark.slow),
    ],
)
def test_a_default_variant_that_does_not_exist_stops_the_start(tmp_path: Path, key: str) -> None:
    done = start(tmp_path, **{key: "nonsense"})
    assert_ends_with(done, f"The server cannot start: {key}='nonsense' cannot be used: ")
    assert "mini" in done.stderr


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = start(tmp_path, UPLOAD_FOLDER=str(tmp_path / "file" / "uploads"))
    assert_ends_with(done, f"UPLOAD_FOLDER={tmp_path / 'file' / 'uploads'} cannot be created")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        pytest.param("nonsense", "nonsense", marks=pytest.mark.slow),
        ("oracle+nothing://me:secret@host/jobs", "oracle+nothing://***@host/jobs"),
        pytest.param(
            "sqlite:////no/such/folder/jobs.sqlite3",
            "sqlite:////no/such/folder/jobs.sqlite3",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_database_that_cannot_be_used_stops_the_start(
    address: str, shown: str, tmp_path: Path
) -> None:
    """A password in the address is not shown."""
    done = start(tmp_path, DATABASE_URL=address)
    assert_ends_with(done, f"DATABASE_URL={shown!r} cannot be used: ")
    assert "secret" not in done.stdout + done.stderr


def test_a_port_in_use_stops_the_start(tmp_path: Path, server: Server) -> None:
    done = start(tmp_path, PORT=str(server.port))
    assert done.returncode not in (0, None)
    assert str(server.port) in done.stdout + done.stderr
    assert "in use" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_server_on_the_same_results_is_refused(tmp_path: Path, server: Server) -> None:
    done = start(tmp_path, OUTPUT_FOLDER=str(server.outputs))
    assert_ends_with(done, f"OUTPUT_FOLDER={server.outputs} is in use by another server")
    assert server.get("/health").status_code == 200
