"""Folders that settings start from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a checkout; the wheel keeps the bundled models inside the package.
_PRETRAINED = ROOT / "pretrained"


def base_folder() -> Path:
    """Start of relative paths: the project folder, or for an installed server the current one."""
    return ROOT if _PRETRAINED.is_dir() else Path.cwd()


def bundled_folder() -> Path:
    """Folder of the bundled models."""
    return _PRETRAINED if _PRETRAINED.is_dir() else ROOT / "studio" / "pretrained"
