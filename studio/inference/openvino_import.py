"""The one place where OpenVINO is imported."""

from functools import cache
from threading import Lock
from typing import Any

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


def compress_to_float16(model: Any) -> None:
    """Round the float32 constants of a graph to float16, in place.

    OpenVINO marks the conversions back to float32, and keeps float16 in memory behind those only.
    """
    with _first_import:
        _initialised()
        from openvino._offline_transformations import compress_model_transformation
    compress_model_transformation(model)
