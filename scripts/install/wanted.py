"""What the requirements files ask for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Demucs requires packages that only its command line uses. One of them, sphn, has no build for
# Linux on ARM64. The requirements files name those that its networks use. Of audio-separator, the
# tests use the client of its remote API, which needs nothing more than they do.
WITHOUT_DEPENDENCIES = {"demucs", "audio-separator"}


def requirements(name: str, nested: bool = True) -> list[str]:
    """The requirements in a file, and in those that it refers to."""
    found: list[str] = []
    for line in (ROOT / name).read_text("utf-8").splitlines():
        text = line.strip()
        if text.startswith("-r "):
            found += requirements(text[3:].strip()) if nested else []
        elif text and not text.startswith("#"):
            found.append(text)
    return found


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def torch_version(wanted: list[str]) -> str:
    return next(one for one in wanted if name_of(one) == "torch").partition("==")[2]
