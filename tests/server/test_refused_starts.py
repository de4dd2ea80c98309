"""What keeps a server from starting, and how that is said."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import core
from config import ROOT, Config, ConfigError
from scripts.services.children import free_port
from studio.jobs import presence
from studio.jobs.store import JobStore
from tests.support.in_process import application
from tests.support.server import Server


def start(
    folder: Path, script: str = "app.py", program: Path = ROOT, /, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`python app.py` as a person starts it, expected to end by itself."""
    environment = {
        **os.environ,
        "PORT": str(free_port()),
        "UPLOAD_FOLDER": str(folder / "uploads"),
        "OUTPUT_FOLDER": str(folder / "outputs"),
        **settings,
    }
    return subprocess.run(
        [sys.executable, script],
        cwd=program,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
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


def test_a_misspelled_setting_is_reported_before_the_start(tmp_path: Path) -> None:
    """The start itself fails, so that the process ends."""
    (tmp_path / "file").write_text("not a folder")
    done = start(tmp_path, UPLOAD_FOLDER=str(tmp_path / "file" / "uploads"), API_KEY="secret")
    warning = "API_KEY is not a setting and has no effect. Did you mean API_KEYS?"
    assert_ends_with(done, warning)
    assert done.stderr.index(warning) < done.stderr.index("The server cannot start: ")
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("script", ["app.py", "production.py"])
def test_settings_that_cannot_be_read_stop_the_start(tmp_path: Path, script: str) -> None:
    """PowerShell writes UTF-16 by default."""
    program = copy_program(tmp_path / "program")
    (program / ".env").write_text("PORT=8001\n", "utf-16")
    done = start(tmp_path, script, program)
    sentence = f"The server cannot start: The settings cannot be read: {program / '.env'} is UTF-16"
    assert_ends_with(done, sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


def copy_program(folder: Path) -> Path:
    """The program in a folder of its own, where it looks for `.env`; without models and pages."""
    shutil.copytree(
        ROOT / "studio", folder / "studio", ignore=shutil.ignore_patterns("__pycache__", "static")
    )
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    return folder


def refusal(folder: Path, **settings: Any) -> str:
    """What an application says that does not start."""
    with pytest.raises(ConfigError) as raised, application(folder, **settings):
        pass
    return str(raised.value)


@pytest.mark.parametrize("key", ["DEMUCS_MODEL", "WHISPER_MODEL", "MUSICGEN_MODEL"])
def test_a_default_variant_that_does_not_exist_stops_the_start(tmp_path: Path, key: str) -> None:
    sentence = refusal(tmp_path, **{key: "nonsense"})
    assert sentence.startswith(f"{key}='nonsense' cannot be used: ")
    assert "mini" in sentence


@pytest.mark.parametrize("key", ["UPLOAD_FOLDER", "OUTPUT_FOLDER"])
def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = tmp_path / "file" / "made"
    assert refusal(tmp_path, **{key: str(folder)}).startswith(f"{key}={folder} cannot be created")


@pytest.mark.parametrize("name", [".lock", ".locks", ".jobs.sqlite3.lock"])
def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path, name: str) -> None:
    """As when root has made it. The wrong kind of file stops root too."""
    path = tmp_path / "outputs" / name
    path.parent.mkdir()
    if name == ".locks":
        path.touch()
    else:
        path.mkdir()
    sentence = refusal(tmp_path)
    assert sentence.startswith(f"{path} cannot be opened: ")
    assert "chown" in sentence


def test_folders_without_locks_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some mounts of NFS, SMB and FUSE."""

    def flock(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    config = Config(OUTPUT_FOLDER=str(tmp_path))
    sentence = (
        f"OUTPUT_FOLDER={tmp_path} cannot be used: No locks available. .* mount it with locks"
    )
    with pytest.raises(ConfigError, match=sentence), core._file_errors(config):
        core._own_folders(config)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "oracle+nothing://me:secret/secret@host/jobs?password=secret",
            "oracle+nothing://me:***@host/jobs",
        ),
        ("sqlite:////no/such/folder/jobs.sqlite3", "sqlite:////no/such/folder/jobs.sqlite3"),
    ],
)
def test_a_database_that_cannot_be_used_stops_the_start(
    address: str, shown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A password in the address is not shown."""
    sentence = refusal(tmp_path, DATABASE_URL=address)
    assert sentence.startswith(f"DATABASE_URL={shown!r} cannot be used: ")
    assert "secret" not in sentence + caplog.text


@pytest.mark.parametrize(
    "address", ["nonsense", "postgresql://me:p@secret@host/jobs", "postgresql://me:p@x:secret@h/j"]
)
def test_what_is_no_address_of_a_database_is_not_shown(address: str) -> None:
    """It may contain a password whose special characters are not encoded."""
    config = Config.load({"DATABASE_URL": address}, dotenv=None)
    with (
        ExitStack() as started,
        pytest.raises(ConfigError, match=r"In the password, .* %40") as raised,
    ):
        core._job_store(config, started, JobStore)
    assert "secret" not in str(raised.value)


def test_a_port_in_use_stops_the_start(tmp_path: Path, server: Server) -> None:
    done = start(tmp_path, PORT=str(server.port))
    assert done.returncode not in (0, None)
    assert str(server.port) in done.stdout + done.stderr
    assert "in use" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_server_on_the_same_results_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "LOCK_TIMEOUT_S", 0.1)
    sentence = refusal(tmp_path, OUTPUT_FOLDER=str(server.outputs))
    assert sentence.startswith(f"OUTPUT_FOLDER={server.outputs} is in use by another server")
    assert server.get("/health").status_code == 200


def test_a_second_server_on_the_same_database_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would queue the running jobs again. Its folders are its own."""
    link = tmp_path / "jobs.sqlite3"
    link.symlink_to(server.outputs / ".jobs.sqlite3")
    monkeypatch.setattr(presence, "FILE_TIMEOUT_S", 0.1)
    sentence = refusal(tmp_path, DATABASE_URL=f"sqlite:///{link}")
    assert sentence.startswith(f"DATABASE_URL='sqlite:///{link}' cannot be used: another server")
    assert server.get("/health").status_code == 200
