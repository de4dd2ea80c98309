"""The one place where OpenVINO is imported and compiles graphs."""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from studio.inference.process import mappings, release_pages

_first_import = Lock()


def import_openvino() -> Any:
    """The `openvino` package, ready for any number of threads.

    Its Python binding initialises its table of types at the first inference. If two threads get
    there at the same time, one waits for the GIL and the other for the table, for ever.
    """
    with _first_import:
        return _initialised()


@cache
def _initialised() -> Any:
    import openvino

    openvino.Type.f32.to_dtype()
    return openvino


def compile_graph(graph: Any, settings: dict[str, Any]) -> Any:
    """A graph, or the stored graph at a path, compiled for the CPU.

    OpenVINO copies the weights into an order of its own, and keeps the file mapped.
    """
    core = import_openvino().Core()
    if not isinstance(graph, Path):
        return core.compile_model(graph, "CPU", settings)
    weights = graph.with_suffix(".bin")
    # Another thread may be freeing an older graph of the same file.
    before = mappings(weights)
    compiled = core.compile_model(graph, "CPU", settings)
    release_pages(mappings(weights) - before)
    return compiled


def compress_to_float16(model: Any) -> None:
    """Round the float32 constants of a graph to float16, in place.

    OpenVINO marks the conversions back to float32, and keeps float16 in memory behind those only.
    """
    with _first_import:
        _initialised()
        from openvino._offline_transformations import compress_model_transformation
    compress_model_transformation(model)
