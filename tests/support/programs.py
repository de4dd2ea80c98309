"""Programs that cannot share the environment of the tests: each gets one of its own, by uv."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.server import ROOT

UV = [sys.executable, "-m", "uv"]


def python_with(package: str) -> list[str]:
    """The command of a Python that has a package of the extra `programs` in pyproject.toml."""
    uv = [*UV, "run", "--quiet", "--no-project", "--isolated"]
    return [*uv, "--python", sys.executable, "--with", _pin(package), "python"]


def environment_with(package: str, folder: Path) -> Path:
    """The Python of a new environment that has a package of the extra `programs`."""
    venv = [*UV, "venv", "--quiet", "--python", sys.executable, str(folder)]
    subprocess.run(venv, check=True, timeout=120)
    python = folder / "bin" / "python"
    install = [*UV, "pip", "install", "--quiet", "--python", str(python), _pin(package)]
    subprocess.run(install, check=True, timeout=300)
    return python


def _pin(package: str) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = project["optional-dependencies"]["programs"]
    [pin] = [pin for pin in pins if pin.partition("==")[0] == package]
    return str(pin)
