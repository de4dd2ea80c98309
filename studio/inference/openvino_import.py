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
