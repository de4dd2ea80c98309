"""Converts networks into stored graphs, in a separate process.

A conversion holds the GIL for a long time and needs much memory. In the server process it would
block all requests, and the memory would not be returned.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from studio.inference.graph_cache import ConversionFailed, GraphCache, NotConvertible
from studio.inference.process import disable_telemetry
from studio.settings.folders import ROOT

log = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """The exit status of a conversion. Python itself uses 1 and 2."""

    STORED = 0
    NOT_CONVERTIBLE = 3
    NOT_STORED = 4
    NOT_READABLE = 5


Converted = tuple[dict[str, Any], Callable[[str], Any]]
"""A description, and the networks by name: the path of a stored graph, or the graph itself."""


def cached_or_converted(
    graphs: Path,
    key: str,
    keep: Callable[[], object],
    convert: Callable[[], tuple[dict[str, Any], Mapping[str, Any]]],
) -> Converted:
    """The networks for a key, from the cache `graphs` or newly converted.

    `keep` converts and stores them in a separate process. If they cannot be stored, `convert`
    creates them in this process.
    """
    kept = GraphCache(graphs).find_or_make(key, keep)
    if kept is None:
        description, networks = convert()
        return description, networks.__getitem__
    description, folder = kept
    return description, lambda name: folder / f"{name}.xml"


def convert_in_subprocess(module: str, graphs: Path, *given: object) -> bool:
    """Run a module that converts the network `given` by its arguments and stores it in `graphs`.

    Returns whether the graph was stored. Raises NotConvertible, ValueError if the weights cannot be
    read, ConversionFailed if the process cannot run, or RuntimeError if the network is refused.
    """
    try:
        graphs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("cannot create the folder for graphs: %s", error)
        return False
    if not os.access(graphs, os.W_OK):
        log.warning("cannot write to the folder for graphs, %s", graphs)
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
        reason = f"the conversion for OpenVINO could not be started ({error.strerror or error})"
        raise ConversionFailed(reason) from error
    # Libraries may have written to stderr too, but not after the reason.
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if done.returncode == ExitCode.NOT_CONVERTIBLE:
        raise NotConvertible(reason)
    if done.returncode == ExitCode.NOT_READABLE:
        raise ValueError(reason)
    if done.returncode < 0:
        log.warning("a conversion was killed by signal %d:\n%s", -done.returncode, done.stderr)
        raise ConversionFailed(
            f"the conversion for OpenVINO was killed by signal {-done.returncode}, perhaps for "
            "lack of memory"
        )
    if done.returncode not in (ExitCode.STORED, ExitCode.NOT_STORED):
        log.warning("a conversion failed with exit status %d:\n%s", done.returncode, done.stderr)
        raise RuntimeError(f"the conversion failed with exit status {done.returncode}: {reason}")
    if done.returncode == ExitCode.NOT_STORED:
        log.warning("a converted network could not be stored: %s", reason)
    return done.returncode == ExitCode.STORED


def answer(convert: Callable[[], Callable[[], object]]) -> ExitCode:
    """The exit status of a conversion module; `convert` returns a function that stores the network.

    The last line of stderr is the reason of a failure.
    """
    disable_telemetry()
    try:
        keep = convert()
    except NotConvertible as error:
        return _because(ExitCode.NOT_CONVERTIBLE, str(error))
    except RuntimeError:
        raise
    except Exception as error:
        return _because(ExitCode.NOT_READABLE, f"{type(error).__name__}: {error}")
    try:
        keep()
    except OSError as error:
        return _because(ExitCode.NOT_STORED, str(error))
    return ExitCode.STORED


def _because(code: ExitCode, reason: str) -> ExitCode:
    sys.stderr.write(f"\n{' '.join(reason.split())}\n")
    return code
