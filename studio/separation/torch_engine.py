"""The PyTorch engine: runs a network of the demucs package as it is, on the CPU or on a GPU."""

import copy
import logging
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from studio.inference.device_use import CpuFallback, current_use, or_on_cpu
from studio.inference.devices import Device, is_device_failure, release_memory
from studio.separation.arrays import Array
from studio.separation.group_norm import spread_group_norms

log = logging.getLogger(__name__)

# More windows at once fill no device better, and hold more of the recording.
MAX_BATCH = 8
# Share of the free device memory that a batch may take; other jobs want some as well.
MEMORY_SHARE = 0.5


class TorchNetwork:
    """A Demucs, HDemucs or HTDemucs module behind the `Network` protocol.

    It takes arrays of NumPy or tensors on its device, and gives the same. On CUDA it runs in half
    precision, unless its values leave that range, `max_batch` windows at a time; on the GPU of a
    Mac in float32, one window at a time. If the device's memory is too small for them, it takes
    fewer for the rest of the job, and in the end the CPU takes over.
    """

    parallel = 1

    def __init__(self, module: Any, device: str, batch: int) -> None:
        import torch

        self.module = module.to(device).eval()
        self.max_batch = batch
        self.segment_samples = int(module.samplerate * module.segment)
        self._device = device
        self._fallback = CpuFallback(partial(_copied_to_cpu, self.module))
        self._is_half = True
        # Its own, so that what is done with the last stems need not wait for the next windows.
        self._stream: Any = torch.cuda.Stream(device) if Device(device).is_cuda else None
        self._launching = Lock()

    @property
    def batch(self) -> int:
        return current_use().max_batch(self, self.max_batch)

    def window_samples(self, length: int) -> int:
        if hasattr(self.module, "valid_length"):
            return int(self.module.valid_length(length))
        return length

    def __call__(self, windows: Array) -> Array:
        import torch

        if isinstance(windows, np.ndarray):
            given = torch.from_numpy(np.ascontiguousarray(windows)).to(self._device)
            return self._separate(given).cpu().numpy()
        return self._separate(windows)

    def _separate(self, windows: Any) -> Any:
        """Tensors on the device, in and out."""
        import torch

        if len(windows) == 1:
            return or_on_cpu(
                self._device, lambda: self._inferred(windows), lambda: self._run_on_cpu(windows)
            )
        try:
            return self._inferred(windows)
        except RuntimeError as error:
            if not is_device_failure(error):
                raise
        # Outside of the handler: the error holds the tensors of the failed run.
        release_memory()
        middle = len(windows) // 2
        current_use().take_fewer(self, middle, "segments are separated")
        return torch.cat([self._separate(windows[:middle]), self._separate(windows[middle:])])

    def try_device(self) -> None:
        """Run a GPU once. Raises RuntimeError if it cannot run the network."""
        import torch

        if self._device != "cpu":
            samples = self.window_samples(self.segment_samples)
            with torch.inference_mode():
                self._run(torch.zeros(1, self.module.audio_channels, samples, device=self._device))

    def _inferred(self, windows: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._run(windows)

    def _run(self, windows: Any) -> Any:
        if self._stream is None:
            return self.module(windows)
        separated, is_finite = self._on_device(windows)
        if self._is_half and not is_finite:
            log.warning("the network overflows float16; continuing in float32")
            self._is_half = False
            separated, _ = self._on_device(windows)
        return separated

    def _on_device(self, windows: Any) -> tuple[Any, bool]:
        """Stems on the CUDA device, and whether they are finite."""
        import torch

        caller = torch.cuda.current_stream(self._device)
        done = torch.cuda.Event(blocking=True)
        # One thread launches at a time: what others compute meanwhile would only take memory.
        with self._launching, torch.cuda.stream(self._stream):
            self._stream.wait_stream(caller)
            with torch.autocast("cuda", dtype=torch.float16, enabled=self._is_half):
                separated = self.module(windows).float()
            is_finite = separated.isfinite().all()
            # Its memory is not given to the next call before the caller has read it.
            separated.record_stream(caller)
            done.record()
        done.synchronize()
        return separated, bool(is_finite)

    def _run_on_cpu(self, windows: Any) -> Any:
        import torch

        network = self._fallback.get()
        with torch.inference_mode():
            return network(windows.cpu()).to(self._device)


def _copied_to_cpu(module: Any) -> Any:
    """A copy of a network on the CPU, which takes no memory of its device meanwhile."""
    from torch.nn import Parameter

    moved: dict[int, Any] = {id(buffer): buffer.cpu() for buffer in module.buffers()}
    for parameter in module.parameters():
        moved[id(parameter)] = Parameter(parameter.detach().cpu(), requires_grad=False)
    return copy.deepcopy(module, moved)


def torch_network(module: Any, device: str, threads: int) -> TorchNetwork:
    """A loaded module on a device; `threads` of PyTorch on the CPU, 0 for its own choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    if not Device(device).is_cuda:
        network = TorchNetwork(module, device, 1)
        network.try_device()
        return network
    spread_group_norms(module)
    network = TorchNetwork(module, device, 1)
    network.max_batch = _batch(network, device)
    return network


def _batch(network: TorchNetwork, device: str) -> int:
    """Windows at a time for which there is memory; one window is tried to find out."""
    import torch

    channels = int(network.module.audio_channels)
    window = np.zeros((1, channels, network.window_samples(network.segment_samples)), np.float32)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    network(window)
    each = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(MAX_BATCH, int(MEMORY_SHARE * (free + reserved) / each)))
