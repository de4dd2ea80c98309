"""Programs that cannot share the environment of the project: each gets one of its own, by uv."""

import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.services.children import ServiceError

ROOT = Path(__file__).resolve().parents[2]
UV = [sys.executable, "-m", "uv"]


def python_with(package: str) -> list[str]:
    """The command of a Python that has a package of the extra `programs` in pyproject.toml."""
    uv = [*UV, "run", "--quiet", "--no-project", "--isolated"]
    return [*uv, "--python", sys.executable, "--with", _pin(package), "python"]


def environment_with(package: str, folder: Path) -> Path:
    """The Python of a new environment that has a package of the extra `programs`.

    Raises ServiceError if it cannot be installed.
    """
    python = folder / "bin" / "python"
    venv = [*UV, "venv", "--quiet", "--python", sys.executable, str(folder)]
    install = [*UV, "pip", "install", "--quiet", "--python", str(python), _pin(package)]
    for command in (venv, install):
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise ServiceError(
                f"{_pin(package)} cannot be installed into an environment of its own. It comes "
                f"from the index that uv is configured with, usually PyPI.\n{done.stderr.strip()}"
            )
    return python


def _pin(package: str) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = project["optional-dependencies"]["programs"]
    [pin] = [pin for pin in pins if pin.partition("==")[0] == package]
    return str(pin)
