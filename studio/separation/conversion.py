"""Converts a network into a kept graph in a process of its own.

The conversion holds Python's lock for seconds, and imports PyTorch: in the server it would stop
every answer, and its memory would stay.
"""

import os
import subprocess
import sys
from pathlib import Path

from studio.graphs import GraphCache
from studio.separation.checkpoints import load_file
from studio.separation.openvino_engine import LAYERS, NotConvertible, convert, describe, key

ROOT = Path(__file__).resolve().parents[2]
REFUSED, NOT_KEPT = 3, 4


def convert_apart(weights: Path, segment_s: float | None, graphs: Path) -> bool:
    """Convert a weights file and keep the graph in `graphs`; whether it could be kept.

    Raises NotConvertible, or RuntimeError where it fails otherwise.
    """
    try:
        graphs.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    if not os.access(graphs, os.W_OK):
        return False
    segment = "" if segment_s is None else repr(segment_s)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(weights.resolve()), segment, str(graphs.resolve())],
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


def main(weights: str, segment: str, graphs: str) -> int:
    """What the process does; its exit code."""
    path, segment_s = Path(weights), float(segment) if segment else None
    try:
        graph, layers = convert(load_file(path, segment_s))
    except NotConvertible as error:
        sys.stdout.write(str(error))
        return REFUSED
    try:
        GraphCache(Path(graphs)).add(key(path, segment_s), describe(graph), {LAYERS: layers})
    except OSError as error:
        sys.stderr.write(str(error))
        return NOT_KEPT
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
