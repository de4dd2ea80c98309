"""CTranslate2 on a CUDA device. It brings its kernels, but not cuBLAS."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from studio.inference.device_use import CpuFallback, current_use, or_on_cpu
from studio.inference.devices import CUDA, MPS, has_driver, is_device_failure, release_memory
from studio.transcription.ctranslate2_model import CTranslate2Model

_Answer = TypeVar("_Answer")

NOT_ON_MPS = "Whisper has no engine for it"
# In the order in which they need each other.
CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")


def device_index(wanted: str) -> int | None:
    """The number of the device for `auto`, `cuda` or `cuda:N`; None for the CPU.

    Raises RuntimeError where a device should be there and CTranslate2 cannot use it.
    """
    import ctranslate2

    if wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return None
    if wanted == MPS:
        raise RuntimeError(NOT_ON_MPS)
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


class CudaModel:
    """A `ctranslate2.models.Whisper` on a CUDA device, for batches as `CTranslate2Model`.

    If the device's memory is too small for the windows of a call, it takes fewer for the rest of
    the job, and in the end the model that `load_on_cpu` gives takes over. States are arrays, which
    both models take.
    """

    def __init__(self, model: Any, load_on_cpu: Callable[[], Any]) -> None:
        self._model = CTranslate2Model(model, None)
        self._fallback = CpuFallback(lambda: CTranslate2Model(load_on_cpu(), None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def max_windows(self, beam_size: int) -> int:
        """How many windows are decoded at the same time."""
        return current_use().max_batch(self, self._model.max_windows(beam_size))

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        count = features.shape[0]
        if count == 1:
            return self._run(lambda model: model.encode(features, to_cpu=True))
        return np.concatenate(
            self._in_halves(
                count,
                lambda: [self._model.encode(features, to_cpu=True)],
                lambda half: [self.encode(features[half], to_cpu=True)],
            )
        )

    def detect_language(self, features: Any) -> Any:
        return self._run(lambda model: model.detect_language(features))

    def align(self, features: Any, *arguments: Any, **settings: Any) -> Any:
        return self._run(lambda model: model.align(features, *arguments, **settings))

    def generate(
        self, features: Any, prompts: Sequence[Sequence[int]], **settings: Any
    ) -> Sequence[Any]:
        if len(prompts) == 1:
            return self._run(lambda model: model.generate(features, prompts, **settings))
        return self._in_halves(
            len(prompts),
            lambda: self._model.generate(features, prompts, **settings),
            lambda half: self.generate(features[half], prompts[half], **settings),
        )

    def _in_halves(
        self,
        count: int,
        call: Callable[[], Sequence[Any]],
        call_half: Callable[[slice], Sequence[Any]],
    ) -> Sequence[Any]:
        """The results of `call`; of its halves if memory is too small."""
        try:
            return call()
        except RuntimeError as error:
            if not is_device_failure(error):
                raise
        release_memory()
        middle = count // 2
        current_use().take_fewer(self, middle, "windows are decoded")
        return [*call_half(slice(middle)), *call_half(slice(middle, None))]

    def _run(self, call: Callable[[CTranslate2Model], _Answer]) -> _Answer:
        """The call with the model on the device, or with the one on the CPU."""
        return or_on_cpu(CUDA, lambda: call(self._model), lambda: call(self._fallback.get()))
