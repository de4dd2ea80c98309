"""Converts networks into kept graphs in a process of its own.

A conversion holds Python's lock for long and takes much memory: in the server it would stop every
answer, and the memory would stay.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from studio.graphs import NotConvertible

ROOT = Path(__file__).resolve().parents[1]
REFUSED, NOT_KEPT = 3, 4


def convert_apart(module: str, graphs: Path, *given: object) -> bool:
    """Run a module that converts what is `given` and keeps it in `graphs`; whether it was kept.

    Raises NotConvertible, or RuntimeError where it fails otherwise.
    """
    try:
        graphs.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    if not os.access(graphs, os.W_OK):
        return False
    done = subprocess.run(
        [sys.executable, "-m", module, str(graphs.resolve()), *map(str, given)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == REFUSED:
        raise NotConvertible(done.stdout.strip())
    if done.returncode not in (0, NOT_KEPT):
        raise RuntimeError(f"the conversion failed: {done.stderr[-2000:]}")
    return done.returncode == 0


def answer(convert: Callable[[], Callable[[], object]]) -> int:
    """What such a module ends with; `convert` gives what keeps the converted network."""
    try:
        keep = convert()
    except NotConvertible as error:
        sys.stdout.write(str(error))
        return REFUSED
    try:
        keep()
    except OSError as error:
        sys.stderr.write(str(error))
        return NOT_KEPT
    return 0
