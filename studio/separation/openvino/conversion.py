"""The process that converts a weights file of Demucs into a kept graph."""

import sys
from collections.abc import Callable
from pathlib import Path

from studio.inference.convert_process import answer, convert_in_subprocess
from studio.inference.graph_cache import GraphCache
from studio.separation.checkpoints import load_file
from studio.separation.openvino.network import LAYERS, convert, describe, key


def keep_graph(weights: Path, segment_s: float | None, graphs: Path) -> bool:
    """Convert a weights file and keep the graph in `graphs`; whether it could be kept.

    Raises NotConvertible, ValueError where the weights cannot be read, or RuntimeError where the
    conversion fails.
    """
    # Links stay: what they lead to has no ending that tells how it may be read.
    segment = "" if segment_s is None else repr(segment_s)
    return convert_in_subprocess(__name__, graphs, weights.absolute(), segment)


def main(graphs: str, weights: str, segment: str) -> int:
    """What the process does; its exit code."""
    path, segment_s = Path(weights), float(segment) if segment else None

    def convert_file() -> Callable[[], object]:
        graph, layers = convert(load_file(path, segment_s))
        cache, name = GraphCache(Path(graphs)), key(path, segment_s)
        return lambda: cache.add(name, describe(graph), {LAYERS: layers})

    return answer(convert_file)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
