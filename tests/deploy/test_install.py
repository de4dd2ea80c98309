"""`make setup`: which build of PyTorch is installed from where, and what an interruption leaves."""

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from scripts.install import installer, pytorch
from scripts.install.machine import SetupError, check_machine
from scripts.services.children import free_port
from tests.support.server import ROOT
from tests.support.wheels import NATIVE, Index, index_of, make_wheel

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="only Linux has builds of PyTorch to choose from"
)
TIMEOUT_S = 120
UV = Path(sys.executable).parent / "uv"
PRODUCTION = """# a comment
torch==2.13.0
demucs==4.1.0; platform_machine != 'nothing'
small==1.0
"""


@dataclass
class Machine:
    """A copy of what `make setup` reads, a virtual environment, and pip's configuration."""

    root: Path
    environment: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "scripts.install", "--venv", str(self.venv), *options]

    def give_uv(self, folder: Path) -> None:
        """Install with uv from now on, which is faster."""
        self.environment |= {
            "PATH": f"{UV.parent}:/usr/bin:/bin",
            "UV_CACHE_DIR": str(folder / "uv"),
            "UV_NO_CONFIG": "1",
        }

    def run(self, *options: str, **variables: str) -> tuple[int, str]:
        """Run the script; its exit status, and what it printed."""
        done = subprocess.run(
            self.command(*options),
            env={**self.environment, **variables},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, done.stdout

    def set_up(self, *options: str, **variables: str) -> str:
        """Run the script, which must succeed; what it printed."""
        status, told = self.run(*options, **variables)
        assert status == 0, told
        return told

    def installed(self) -> dict[str, str]:
        """The versions of the installed packages."""
        folders = self.venv.glob("lib/python3*/site-packages/*.dist-info")
        versions = dict(path.stem.split("-", 1) for path in folders)
        return {name: versions[name] for name in versions.keys() - {"pip", "setuptools"}}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    venv.create(folder, symlinks=True, with_pip=True)
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that pip finds without an index of CPU builds."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, version, requires in (
        ("torch", "2.13.0", ["nvidia-cublas"]),
        ("nvidia-cublas", "13.0", []),
        ("nvidia-cublas-cu12", "12.9", []),
        # Nothing offers sphn, as on ARM64.
        ("demucs", "4.1.0", ["torch", "sphn"]),
        ("small", "1.0", []),
        ("tests-only", "2.0", []),
    ):
        make_wheel(folder, name, version, requires)
    return folder


@pytest.fixture(scope="module")
def cpu_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpu")
    return make_wheel(folder, "torch", "2.13.0+cpu", ["small"], NATIVE, padding_bytes=2_000_000)


@pytest.fixture
def machine(tmp_path: Path, template: Path, wheels: Path) -> Machine:
    root = tmp_path / "studio with a space"
    shutil.copytree(ROOT / "scripts" / "install", root / "scripts" / "install")
    for name, text in (
        ("prod", PRODUCTION),
        ("gpu", "-r requirements-prod.txt\nnvidia-cublas-cu12==12.9\n"),
        ("dev", "-r requirements.txt\ntests-only==2.0\n"),
    ):
        (root / f"requirements-{name}.txt").write_text(text)
    (root / "requirements.txt").write_text("-r requirements-prod.txt\n")
    shutil.copytree(template, root / ".venv", symlinks=True)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "TORCH_INDEX": f"http://127.0.0.1:{free_port()}/cpu",
    }
    return Machine(root, environment)


@pytest.fixture
def cpu_index(cpu_build: Path) -> Iterator[Index]:
    with index_of([cpu_build]) as index:
        yield index


def test_the_cpu_build_comes_from_its_index_and_demucs_comes_alone(
    machine: Machine, cpu_index: Index
) -> None:
    told = machine.set_up(TORCH_INDEX=cpu_index.url)
    assert f"Installing torch 2.13.0+cpu (2 MB) from {cpu_index.url}." in told
    expected = {"torch": "2.13.0+cpu", "demucs": "4.1.0", "small": "1.0"}
    assert machine.installed() == expected
    # All but PyTorch comes from where pip is configured to look.
    assert not [path for path in cpu_index.asked if "torch" not in path]
    cpu_index.asked.clear()
    assert machine.set_up(TORCH_INDEX=cpu_index.url) == ""
    assert "torch 2.13.0+cpu is installed." in machine.set_up("--dev", TORCH_INDEX=cpu_index.url)
    assert machine.installed() == {**expected, "tests_only": "2.0"}
    assert cpu_index.asked == []
    # `make dev` includes `make setup`.
    assert machine.set_up() == ""


@pytest.mark.slow
def test_without_that_index_pip_looks_where_it_always_does(machine: Machine) -> None:
    told = machine.set_up()
    assert "from the indexes that pip is configured with" in told
    assert f"{machine.environment['TORCH_INDEX']} cannot be reached" in told
    assert "Connection refused" in told
    installed = machine.installed()
    assert installed["torch"] == "2.13.0"
    assert installed["demucs"] == "4.1.0"
    # A change of the requirements is installed; PyTorch stays.
    (machine.root / "requirements.txt").write_text("-r requirements-prod.txt\ntests-only==2.0\n")
    assert "torch 2.13.0 is installed." in machine.set_up()
    assert machine.installed() == {**installed, "tests_only": "2.0"}


@pytest.mark.parametrize("asked_for", [{"GPU": "0"}, {}], ids=["GPU=0", "TORCH_INDEX"])
def test_the_cpu_build_replaces_the_cuda_build_once_it_can_be_had(
    machine: Machine, cpu_index: Index, tmp_path: Path, asked_for: dict[str, str]
) -> None:
    """The index could not be reached at first, so PyPI's build with CUDA was installed."""
    machine.give_uv(tmp_path)
    closed = machine.environment.pop("TORCH_INDEX")
    machine.set_up(TORCH_INDEX=closed)
    assert machine.installed()["torch"] == "2.13.0"
    # Without any wish, nothing is done, and nothing is asked.
    assert machine.set_up() == ""
    told = machine.set_up(TORCH_INDEX=closed, **asked_for)
    assert "torch 2.13.0 is installed. It includes CUDA, and no CPU build can replace it" in told
    assert f"{closed} cannot be reached" in told
    told = machine.set_up(TORCH_INDEX=cpu_index.url, **asked_for)
    assert f"Installing torch 2.13.0+cpu (2 MB) from {cpu_index.url}." in told
    assert machine.installed()["torch"] == "2.13.0+cpu"
    assert machine.set_up(TORCH_INDEX=cpu_index.url, **asked_for) == ""


@pytest.mark.parametrize("program", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_a_cpu_build_may_have_the_version_of_the_cuda_build(
    machine: Machine, tmp_path: Path, program: str
) -> None:
    """As in a mirror whose builds were made there."""
    if program == "uv":
        machine.give_uv(tmp_path)
    machine.set_up()
    own = make_wheel(tmp_path / "own", "torch", "2.13.0", ["small"], NATIVE)
    with index_of([own]) as index:
        machine.set_up(TORCH_INDEX=index.url)
        assert not pytorch.installed_torch(
            next(machine.venv.glob("lib/python3*/site-packages"))
        ).has_cuda
        assert machine.set_up(TORCH_INDEX=index.url) == ""


@pytest.mark.parametrize("value", ["1", "True"])
def test_no_index_is_asked_if_pip_is_to_ask_none(
    monkeypatch: pytest.MonkeyPatch, cpu_index: Index, value: str
) -> None:
    """A computer without a network would wait for it in vain."""
    monkeypatch.setattr(pytorch, "CPU_INDEX", cpu_index.url)
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", value)
    settings = installer.pip_settings([sys.executable, "-m", "pip"])
    probe = pytorch.find_cpu_build("2.13.0", settings)
    assert not probe.build
    assert probe.reason == "pip is configured with no-index"
    assert cpu_index.asked == []
    # An index that is named is asked.
    monkeypatch.setenv("TORCH_INDEX", cpu_index.url)
    assert pytorch.find_cpu_build("2.13.0", settings).build == "2.13.0+cpu"


def asked(url: str) -> pytorch.Probe:
    probe = pytorch.Probe(url, "2.13.0", {})
    probe.run()
    return probe


def test_an_index_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "PROBE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        probe = asked(url)
    assert not probe.build
    assert url in probe.reason


def test_an_index_without_a_build_for_this_computer_is_not_used(tmp_path: Path) -> None:
    others = [
        make_wheel(tmp_path, "torch", version, tag=tag)
        for version, tag in (
            ("2.12.0+cpu", NATIVE),
            ("2.13.0+cpu", "cp39-cp39-linux_x86_64"),
            ("2.13.0+cpu", NATIVE.replace(platform.machine(), "riscv64")),
        )
    ]
    with index_of(others) as index:
        probe = asked(index.url)
    assert not probe.build
    assert probe.reason == f"{index.url}/torch/ has no build of torch 2.13.0 for this computer"


@pytest.mark.parametrize("program", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_a_gpu_gets_the_cuda_build_and_keeps_it(
    machine: Machine, cpu_index: Index, cpu_build: Path, tmp_path: Path, program: str
) -> None:
    """Even where a CPU build is found, which pip would prefer."""
    if program == "uv":
        machine.give_uv(tmp_path)
    folders = f"{machine.environment['PIP_FIND_LINKS']} {cpu_build.parent}"
    sources = {"TORCH_INDEX": cpu_index.url, "PIP_FIND_LINKS": folders}
    assert "with CUDA" in machine.set_up(GPU="1", **sources)
    gpu = {"torch": "2.13.0", "nvidia_cublas": "13.0", "nvidia_cublas_cu12": "12.9"}
    assert machine.installed().items() >= gpu.items()
    assert machine.set_up(**sources) == ""
    assert cpu_index.asked == []
    machine.set_up(GPU="0", **sources)
    assert machine.installed()["torch"] == "2.13.0+cpu"


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
