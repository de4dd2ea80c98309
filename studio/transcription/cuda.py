"""Whether CTranslate2 can run on a CUDA device. It brings its kernels, but not cuBLAS."""

import ctypes
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from studio.inference.devices import has_driver

# In the order in which they need each other.
CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")


def device_index(wanted: str) -> int | None:
    """The number of the device for `auto`, `cuda` or `cuda:N`; None for the CPU.

    Raises RuntimeError where a device should be there and CTranslate2 finds none.
    """
    import ctranslate2

    if wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return None
    if ctranslate2.get_cuda_device_count() == 0:
        raise RuntimeError("CTranslate2 finds none")
    preload_cublas()
    return int(wanted.partition(":")[2] or 0)


def preload_cublas() -> None:
    """Load the cuBLAS of the wheel `nvidia-cublas-cu12`, if that is installed.

    CTranslate2 then finds it by its name; it would look for it among the system's libraries only.
    """
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for name in CUBLAS:
            with suppress(OSError):
                ctypes.CDLL(str(Path(folder) / "cublas" / "lib" / name), ctypes.RTLD_GLOBAL)
