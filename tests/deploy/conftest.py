"""A machine to install packages on, and the packages that it finds."""

import os
import shutil
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installed import Machine
from tests.support.server import CLOSED_PORT, ROOT
from tests.support.wheels import NATIVE, Index, index_of, make_wheel

PRODUCTION = """# a comment
torch==2.13.0
demucs==4.1.0; platform_machine != 'nothing'
small==1.0
"""


@pytest.fixture(scope="package")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    venv.create(folder, symlinks=True, with_pip=True)
    return folder


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
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
        "TORCH_INDEX": f"http://127.0.0.1:{CLOSED_PORT}/cpu",
    }
    return Machine(root, environment)


@pytest.fixture
def cpu_index(cpu_build: Path) -> Iterator[Index]:
    with index_of([cpu_build]) as index:
        yield index
