"""Process-wide settings: BLAS threads, malloc arenas, telemetry."""

import ctypes
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

# The BLAS library in NumPy's wheels. (threadpoolctl would find it, but deadlocks if another thread
# imports a library at the same time.)
BLAS = "numpy.libs/libscipy_openblas*"
MAX_ARENAS = 2
# From glibc's malloc.h.
_M_ARENA_MAX = -8
# From mman.h.
_MADV_DONTNEED = 4
# From prctl.h.
_PR_SET_DUMPABLE = 4


def prepare_process() -> None:
    """Reserve cores and memory for the models, and disable telemetry."""
    disable_telemetry()
    # NumPy's threads busy-wait after every matrix product.
    for path in Path(np.__file__).parents[1].glob(BLAS):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(path)).scipy_openblas_set_num_threads64_(1)
    # With one arena per thread, glibc never returns what many threads once needed.
    if sys.platform == "linux":
        _limit_arenas()


def prevent_inspection() -> None:
    """Prevent other processes of the same user, such as a compromised decoder, from reading the
    environment, memory and open files of this one. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limit_arenas() -> None:
    # Only glibc has this function.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MAX_ARENAS)


def release_free_memory() -> None:
    """Return free heap memory to the system; takes a few milliseconds.

    glibc rarely reuses freed tensors if several threads allocate between them, so that the heap of
    a long job would grow.
    """
    if sys.platform == "linux":
        # Only glibc has this function.
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def mappings(path: Path) -> set[tuple[int, int]]:
    """The addresses where a file is mapped for reading, as (start, end). Linux only, else none."""
    if sys.platform != "linux":
        return set()
    mapped = os.fspath(path.resolve())
    ranges = set()
    for line in (
        Path("/proc/self/maps").read_text("utf-8", errors="surrogateescape").split("\n")[:-1]
    ):
        addresses, access, *_, name = line.split(maxsplit=5)
        # Pages that were written to would be lost.
        if name == mapped and access.startswith("r-"):
            start, end = (int(address, 16) for address in addresses.split("-"))
            ranges.add((start, end))
    return ranges


def release_pages(mapped: Iterable[tuple[int, int]]) -> None:
    """Return the pages of `mappings` to the system, which reads them again if they are used.

    They must stay mapped. MADV_PAGEOUT would need no such promise, but it keeps pages
    that are not on the disk yet, and those of files in memory.
    """
    for start, end in mapped:
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED
        )


def disable_telemetry() -> None:
    """Prevent OpenVINO and ONNX Runtime from sending telemetry, which they do by default.

    Call this before they are imported. A module that is None cannot be imported, and OpenVINO
    works without this one. ONNX Runtime looks for its variable when it is initialised.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
