"""The virtual environment, and what was installed into it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path


class Stamp:
    """What was installed into a virtual environment, so that nothing is done twice."""

    def __init__(self, venv: Path) -> None:
        self._path = venv / "installed.json"
        try:
            known = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        self.gpu: bool = known.get("gpu", False)
        self.levels: dict[str, str] = known.get("levels", {})

    def write(self, gpu: bool, levels: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"gpu": gpu, "levels": levels}) + "\n", "utf-8")


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def make_venv(venv: Path) -> tuple[Path, Path]:
    """The Python of a virtual environment and its packages' folder; made, if it is not complete."""
    python = python_of(venv)
    if not python.exists() or not (packages_of(python) / "pip" / "__main__.py").exists():
        print(f"Making the virtual environment {venv}.", flush=True)
        # venv keeps a link to a Python that was removed, and the packages for an older one, which
        # an upgrade of the operating system has replaced.
        removed = python.is_symlink() and not python.exists()
        clear = ["--clear"] if removed or is_of_another_python(venv) else []
        subprocess.run([sys.executable, "-m", "venv", *clear, str(venv)], check=True)
    return python, packages_of(python)


def is_of_another_python(venv: Path) -> bool:
    """Whether a virtual environment has packages for another minor version than this Python's."""
    path = venv / "pyvenv.cfg"
    configuration = path.read_text("utf-8") if path.exists() else ""
    version = re.search(r"^version(?:_info)? = (\d+)\.(\d+)", configuration, re.M)
    return version is not None and tuple(map(int, version.groups())) != sys.version_info[:2]


def packages_of(python: Path) -> Path:
    """The folder into which a Python's packages are installed."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(python), "-c", code]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def remove_incomplete(site: Path) -> None:
    """Remove the metadata of packages whose installation was interrupted, so that it is repeated.

    The list of a package's files is the last that is written.
    """
    for metadata in site.glob("*.dist-info"):
        if not (metadata / "RECORD").exists():
            shutil.rmtree(metadata)
