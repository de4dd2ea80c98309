"""Which computers and versions of Python the packages have builds for."""

from __future__ import annotations

import platform
import sys

NEEDED = "Python 3.11, 3.12, 3.13 or 3.14"


class SetupError(Exception):
    """Why the installation cannot continue, as a sentence."""


def check_machine(gpu: bool) -> None:
    """Raise SetupError where the packages have no builds."""
    version = ".".join(map(str, sys.version_info[:2]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise SetupError(f"this is Python {version}; {NEEDED} is needed. Set PYTHON=python3.13.")
    if sys.maxsize < 2**32:
        raise SetupError("this Python is 32-bit; install a 64-bit operating system or Python.")
    system, machine = platform.system(), platform.machine()
    if system == "Windows":
        raise SetupError("native Windows is not supported. Use WSL or containers.")
    if (system, machine) == ("Darwin", "x86_64"):
        raise SetupError("PyTorch has no builds for Macs with an Intel processor any more.")
    if gpu and system != "Linux":
        raise SetupError(f"GPU=1 is for NVIDIA GPUs on Linux; this is {system}.")
