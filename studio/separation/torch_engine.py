"""The PyTorch engine: runs a network of the demucs package as it is, on the CPU or on CUDA."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from studio.separation.network import Stems, Windows

CUDA_BATCH = 8


class TorchNetwork:
    """A Demucs, HDemucs or HTDemucs module behind the `Network` protocol.

    On CUDA it runs in half precision, `batch` windows at a time.
    """

    parallel = 1

    def __init__(self, module: Any, device: str, batch: int) -> None:
        self.module = module.to(device).eval()
        self._device = device
        self.batch = batch
        self.segment_samples = int(module.samplerate * module.segment)

    def window_samples(self, length: int) -> int:
        if hasattr(self.module, "valid_length"):
            return int(self.module.valid_length(length))
        return length

    def __call__(self, windows: Windows) -> Stems:
        import torch

        with torch.inference_mode(), self._half():
            batch = torch.from_numpy(np.ascontiguousarray(windows)).to(self._device)
            stems: Stems = self.module(batch).float().cpu().numpy()
            return stems

    def _half(self) -> AbstractContextManager[Any]:
        import torch

        if self._device == "cpu":
            return nullcontext()
        half: AbstractContextManager[Any] = torch.autocast(self._device, dtype=torch.float16)
        return half


def torch_network(module: Any, device: str, threads: int) -> TorchNetwork:
    """A loaded module on a device; `threads` of PyTorch on the CPU, 0 for its own choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    return TorchNetwork(module, device, 1 if device == "cpu" else CUDA_BATCH)
