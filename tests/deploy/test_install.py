"""`make setup`: what an interruption leaves, which programs install, and what is said of errors."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import pytest

from scripts.install import installer
from scripts.install.machine import SetupError, check_machine
from scripts.services.children import free_port
from tests.support.installed import TIMEOUT_S, UV, Machine
from tests.support.server import ROOT
from tests.support.wheels import Index, index_of

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="only Linux has builds of PyTorch to choose from"
)


def test_an_interrupted_set_up_goes_on(machine: Machine, wheels: Path, cpu_build: Path) -> None:
    """Ctrl-C while the last package is downloaded: PyTorch is not downloaded again."""
    waiting, goes_on = Event(), Event()

    def stall(path: str) -> None:
        if path.endswith(".whl") and "small" in path and not goes_on.is_set():
            waiting.set()
            goes_on.wait(TIMEOUT_S)

    with index_of([*wheels.glob("*.whl"), cpu_build], stall) as index:
        variables = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": index.url}
        machine.environment |= {**variables, "TORCH_INDEX": index.url}
        first = subprocess.Popen(
            machine.command(),
            env=machine.environment,
            cwd=machine.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert waiting.wait(TIMEOUT_S)
        os.killpg(first.pid, signal.SIGINT)
        goes_on.set()
        told, _ = first.communicate(timeout=TIMEOUT_S)
        assert first.returncode != 0
        assert "Run the same command again" in told
        assert set(machine.installed()) == {"torch"}
        index.asked.clear()
        assert "torch 2.13.0+cpu is installed." in machine.set_up()
        assert machine.installed()["small"] == "1.0"
        assert not [path for path in index.asked if "torch" in path and path.endswith(".whl")]


def test_a_package_that_a_crash_left_incomplete_is_installed_again(
    machine: Machine, cpu_build: Path, tmp_path: Path
) -> None:
    """The list of a package's files is written last."""
    machine.give_uv(tmp_path)
    site = next(machine.venv.glob("lib/python3*/site-packages"))
    half = site / "small-1.0.dist-info"
    half.mkdir()
    (half / "METADATA").write_text("Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    folders = f"{machine.environment['PIP_FIND_LINKS']} {cpu_build.parent}"
    told = machine.set_up(TORCH_INDEX="", PIP_FIND_LINKS=folders)
    assert (site / "small.py").exists()
    assert (half / "RECORD").exists()
    # If pip is configured with wheels, these are used, and no index is asked.
    assert "TORCH_INDEX is empty" in told
    assert machine.installed()["torch"] == "2.13.0+cpu"
    assert "nvidia_cublas" not in machine.installed()


@pytest.mark.slow
def test_a_virtual_environment_without_pip_is_completed(machine: Machine) -> None:
    """As an interruption leaves it."""
    site = next(machine.venv.glob("lib/python3*/site-packages"))
    for path in site.glob("pip*"):
        shutil.rmtree(path)
    assert "Making the virtual environment" in machine.set_up(TORCH_INDEX="")
    assert (site / "small.py").exists()


@pytest.mark.slow
def test_a_virtual_environment_whose_python_was_removed_is_made_again(machine: Machine) -> None:
    for link in (machine.venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    assert "Making the virtual environment" in machine.set_up(TORCH_INDEX="")
    assert machine.installed()["small"] == "1.0"


@pytest.mark.slow
def test_a_virtual_environment_of_an_older_python_is_made_again(machine: Machine) -> None:
    """As an upgrade of the operating system leaves it: `python3` is another one."""
    [site] = machine.venv.glob("lib/python3*/site-packages")
    old = machine.venv / "lib" / "python3.9"
    site.parent.rename(old)
    configuration = machine.venv / "pyvenv.cfg"
    text = re.sub(r"^version = .*", "version = 3.9.2", configuration.read_text(), flags=re.M)
    configuration.write_text(text)
    assert "Making the virtual environment" in machine.set_up(TORCH_INDEX="")
    assert machine.installed()["small"] == "1.0"
    assert not old.exists()


def test_uv_is_used_as_pip_is_configured(
    machine: Machine, cpu_index: Index, tmp_path: Path
) -> None:
    machine.give_uv(tmp_path)
    told = machine.set_up(TORCH_INDEX=cpu_index.url)
    assert "Looking in" not in told, "pip was used"
    assert machine.installed() == {"torch": "2.13.0+cpu", "demucs": "4.1.0", "small": "1.0"}


def test_uv_is_not_used_if_it_cannot_do_what_pip_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{UV.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PIP_PREFER_BINARY", "1")
    installer.choose_installer(Path(sys.executable))
    assert "Using pip: uv has no setting for pip's prefer-binary." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"GPU": "yes"}, "GPU is 'yes'; it must be 1 (CUDA), 0 (CPU only) or empty."),
        ({"PIP_FIND_LINKS": "/nowhere", "TORCH_INDEX": ""}, "Run the same command again"),
    ],
)
def test_errors_say_what_is_wrong(
    machine: Machine, variables: dict[str, str], sentence: str
) -> None:
    status, told = machine.run(**variables)
    assert status == 1
    assert sentence in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("version", "system", "cpu", "sentence"),
    [
        ((3, 10), "Linux", "x86_64", "this is Python 3.10"),
        ((3, 15), "Linux", "x86_64", "this is Python 3.15"),
        ((3, 13), "Darwin", "x86_64", "Macs with an Intel processor"),
        ((3, 13), "Windows", "AMD64", "Use WSL or containers"),
        ((3, 13), "Darwin", "arm64", None),
        ((3, 14), "Linux", "aarch64", None),
    ],
)
def test_machines_without_builds_get_an_error(
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int],
    system: str,
    cpu: str,
    sentence: str | None,
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: cpu)
    with nullcontext() if sentence is None else pytest.raises(SetupError, match=sentence):
        check_machine(gpu=False)


def test_a_32_bit_python_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """platform.machine() is that of the kernel, which may have 64 bits."""
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with pytest.raises(SetupError, match="this Python is 32-bit"):
        check_machine(gpu=False)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_says_why_the_page_cannot_be_installed(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "page.py", tmp_path / "scripts")
    shutil.copy(ROOT / "package.json", tmp_path)
    environment = {
        **os.environ,
        "npm_config_registry": f"http://127.0.0.1:{free_port()}",
        "npm_config_cache": str(tmp_path / "cache"),
        "npm_config_fetch_retries": "0",
    }
    done = subprocess.run(
        [sys.executable, tmp_path / "scripts" / "page.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "ECONNREFUSED" in done.stderr
