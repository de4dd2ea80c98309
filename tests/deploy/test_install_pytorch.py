"""`make setup`: which build of PyTorch is installed, and which index it comes from."""

import platform
import socket
import sys
from pathlib import Path

import pytest

from scripts.install import installer, pytorch
from tests.support.installed import Machine
from tests.support.wheels import NATIVE, Index, index_of, make_wheel

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="only Linux has builds of PyTorch to choose from"
)


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
