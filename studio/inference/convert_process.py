"""Converts networks into kept graphs in a process of its own.

A conversion holds Python's lock for long and takes much memory: in the server it would stop every
answer, and the memory would stay.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from studio.inference.graph_cache import NotConvertible
from studio.inference.process import send_nothing

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
REFUSED, NOT_KEPT, NOT_READ = 3, 4, 5


def convert_apart(module: str, graphs: Path, *given: object) -> bool:
    """Run a module that converts what is `given` and keeps it in `graphs`; whether it was kept.

    Raises NotConvertible, ValueError where the weights cannot be read, or RuntimeError where the
    conversion fails.
    """
    try:
        graphs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("the graphs' folder cannot be made: %s", error)
        return False
    if not os.access(graphs, os.W_OK):
        log.warning("the graphs' folder %s cannot be written", graphs)
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(graphs.absolute()), *map(str, given)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise RuntimeError(f"the conversion cannot be started: {error}") from error
    # Libraries may have written something, too, but not after it.
    reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    if done.returncode == REFUSED:
        raise NotConvertible(reason)
    if done.returncode == NOT_READ:
        raise ValueError(reason)
    if done.returncode not in (0, NOT_KEPT):
        log.warning("a conversion ended with %d:\n%s", done.returncode, done.stderr)
        raise RuntimeError(f"the conversion ended with {done.returncode}: {reason}")
    if done.returncode == NOT_KEPT:
        log.warning("a converted network was not kept: %s", reason)
    return done.returncode == 0


def answer(convert: Callable[[], Callable[[], object]]) -> int:
    """What such a module ends with; `convert` gives what keeps the converted network.

    The reason is the last line of the standard error.
    """
    send_nothing()
    try:
        keep = convert()
    except NotConvertible as error:
        return _because(REFUSED, str(error))
    except RuntimeError:
        raise
    except Exception as error:
        return _because(NOT_READ, f"{type(error).__name__}: {error}")
    try:
        keep()
    except OSError as error:
        return _because(NOT_KEPT, str(error))
    return 0


def _because(code: int, reason: str) -> int:
    sys.stderr.write(f"\n{' '.join(reason.split())}\n")
    return code
