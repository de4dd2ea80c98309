"""What holds for the whole process that models run in."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

# Where NumPy's wheels keep their library. (threadpoolctl would find it, but waits for ever where
# another thread imports a library meanwhile.)
BLAS = "numpy.libs/libscipy_openblas*"
MOST_ARENAS = 2
# Of glibc's malloc.h.
_M_ARENA_MAX = -8
# Of prctl.h.
_PR_SET_DUMPABLE = 4


def prepare_process() -> None:
    """Leave cores and memory to the models, and tell nobody what runs here."""
    send_nothing()
    # NumPy's own threads wait busily for a while after every product of matrices.
    for path in Path(np.__file__).parents[1].glob(BLAS):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(path)).scipy_openblas_set_num_threads64_(1)
    # With an arena for each thread, glibc keeps what many threads once needed.
    if sys.platform == "linux":
        _limit_arenas()


def hide() -> None:
    """Keep other processes of the same user, such as a decoder that was taken over, from reading
    the environment, the memory and the open files of this one. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limit_arenas() -> None:
    # Other libraries than glibc have no such function.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MOST_ARENAS)


def send_nothing() -> None:
    """Keep OpenVINO from telling its makers that it is used, which it does from its import on.

    To be called before it is imported. A module that is None cannot be imported, and OpenVINO does
    without this one.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
