"""The PyTorch engine: runs a network of the demucs package as it is, on the CPU or on CUDA."""

import copy
import logging
from threading import Lock
from typing import Any

import numpy as np

from studio.inference.devices import fallback_note
from studio.separation.network import Stems, Windows

log = logging.getLogger(__name__)

# More windows at once fill no device better, and hold more of the recording.
BATCH_MOST = 8
# Share of the free device memory that a batch may take; other jobs want some as well.
MEMORY_SHARE = 0.5


class TorchNetwork:
    """A Demucs, HDemucs or HTDemucs module behind the `Network` protocol.

    On CUDA it runs in half precision, unless its values leave that range, `batch` windows at a
    time. If the device's memory is too
    small for them, it takes fewer, and in the end the CPU takes over; `note` then says so.
    """

    parallel = 1

    def __init__(self, module: Any, device: str, batch: int) -> None:
        self.module = module.to(device).eval()
        self.batch = batch
        self.note: str | None = None
        self.segment_samples = int(module.samplerate * module.segment)
        self._device = device
        self._lock = Lock()
        self._on_cpu: Any = None
        self._is_half = True

    def window_samples(self, length: int) -> int:
        if hasattr(self.module, "valid_length"):
            return int(self.module.valid_length(length))
        return length

    def __call__(self, windows: Windows) -> Stems:
        import torch

        try:
            with torch.inference_mode():
                return self._run(windows)
        except torch.cuda.OutOfMemoryError as error:
            reason = fallback_note(error)
        # Outside of the handler: the error holds the tensors of the failed run.
        torch.cuda.empty_cache()
        if len(windows) == 1:
            return self._run_on_cpu(windows, reason)
        middle = len(windows) // 2
        self.batch = min(self.batch, middle)
        log.warning("the CUDA device has too little memory; %s windows at a time", self.batch)
        return np.concatenate([self(windows[:middle]), self(windows[middle:])])

    def _run(self, windows: Windows) -> Stems:
        import torch

        given = torch.from_numpy(np.ascontiguousarray(windows))
        if self._device == "cpu":
            separated = self.module(given)
        else:
            # Copies from and to pinned memory are several times as fast.
            found = self._on_device(given.pin_memory().to(self._device, non_blocking=True))
            separated = torch.empty(found.shape, dtype=torch.float32, pin_memory=True)
            separated.copy_(found, non_blocking=True)
            torch.cuda.current_stream(self._device).synchronize()
        stems: Stems = separated.numpy()
        return stems

    def _on_device(self, windows: Any) -> Any:
        import torch

        if self._is_half:
            with torch.autocast("cuda", dtype=torch.float16):
                found = self.module(windows)
            if bool(found.isfinite().all()):
                return found
            log.warning("the network leaves the range of half precision; it goes on in float32")
            self._is_half = False
        return self.module(windows)

    def _run_on_cpu(self, windows: Windows, reason: str) -> Stems:
        import torch

        with self._lock:
            if self._on_cpu is None:
                log.warning("%s The CPU goes on.", reason)
                self.note = reason
                self._on_cpu = copy.deepcopy(self.module).to("cpu")
        with torch.inference_mode():
            stems: Stems = self._on_cpu(torch.from_numpy(np.ascontiguousarray(windows))).numpy()
            return stems


def torch_network(module: Any, device: str, threads: int) -> TorchNetwork:
    """A loaded module on a device; `threads` of PyTorch on the CPU, 0 for its own choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    network = TorchNetwork(module, device, 1)
    if device != "cpu":
        network.batch = _batch(network, device)
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
    return max(1, min(BATCH_MOST, int(MEMORY_SHARE * (free + reserved) / each)))
