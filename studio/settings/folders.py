"""Folders that settings start from, and the one of the source code."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a checkout; the wheel keeps the bundled models inside the package.
_PRETRAINED = ROOT / "pretrained"


def base_folder() -> Path:
    """Start of relative paths: the project folder, or for an installed server the current one."""
    return ROOT if _PRETRAINED.is_dir() else Path.cwd()


def pip_install(arguments: str) -> str:
    """The command that installs packages into the environment of this process."""
    return f"{sys.executable} -m pip install {arguments}"


def install_command(requirements: str) -> str:
    """The advice to install the packages of a requirements file of the source code."""
    return f"Run `{pip_install(f'-r {requirements}')}` in the folder of the source code."


def bundled_folder() -> Path:
    """Folder of the bundled models."""
    return _PRETRAINED if _PRETRAINED.is_dir() else ROOT / "studio" / "pretrained"
