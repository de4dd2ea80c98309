"""Chooses the device that PyTorch's networks run on: a GPU that works, else the CPU."""

import gc
import logging
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

log = logging.getLogger(__name__)

# One of them exists where a driver of NVIDIA is installed: Linux, WSL, Windows.
DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")
PROBE_SIZE = 64
CUDA, MPS = "cuda", "mps"
CUDA_DEVICE, APPLE_GPU = "The CUDA device", "The GPU of this Mac"
# Half precision keeps three digits; a product of PROBE_SIZE terms stays far below this.
MAX_PROBE_ERROR = 0.02


@dataclass(frozen=True)
class Device:
    """A PyTorch device, and why a requested GPU is not used."""

    name: str = "cpu"
    note: str | None = None

    @property
    def is_cpu(self) -> bool:
        return self.name == "cpu"

    @property
    def is_cuda(self) -> bool:
        return self.name.startswith(CUDA)


_lock = Lock()
_refusals: dict[str, str | None] = {}


def has_driver() -> bool:
    """Whether this machine has a driver for CUDA devices; nothing is imported to find out."""
    return any(Path(path).exists() for path in DRIVERS)


def has_apple_gpu() -> bool:
    """Whether this is a Mac with a GPU that PyTorch supports."""
    return (platform.system(), platform.machine()) == ("Darwin", "arm64")


def missing_device(wanted: str) -> str | None:
    """Why this machine cannot have a device; None if it may have it."""
    if wanted.startswith(CUDA) and not has_driver():
        return "this machine has no driver for a CUDA device"
    if wanted == MPS and not has_apple_gpu():
        return "this machine is not a Mac with Apple silicon"
    return None


def choose_device(wanted: str) -> Device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    A GPU is chosen only after it has multiplied matrices correctly.
    """
    # Most machines have no CUDA device, so that needs no note.
    if wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return Device()
    name = CUDA if wanted == "auto" else wanted
    if missing := missing_device(name):
        return Device(note=_note(missing, name))
    with _lock:
        if name not in _refusals:
            _refusals[name] = refused = _refusal(name)
            if refused:
                log.warning(_note(refused, name))
        reason = _refusals[name]
        if reason and "out of memory" in reason:
            # Others use the device now; the next model may find it free.
            del _refusals[name]
    return Device(note=_note(reason, name)) if reason else Device(name)


def fallback_note(error: BaseException, device: str = CUDA) -> str:
    """The note of a model that could not be loaded on a GPU, so that the CPU is used."""
    return _note(first_line(error), device)


def failure_note(error: BaseException, device: str = CUDA) -> str:
    """The note of a result if a GPU failed meanwhile, and the CPU took over."""
    return f"{_title(device)} failed ({first_line(error)}); the CPU was used instead."


def is_device_failure(error: BaseException) -> bool:
    """Whether a GPU made this fail, and not the work.

    A lack of memory shows in many ways: libraries that cannot be initialised, kernels that cannot
    be loaded.
    """
    return any(name in str(error).lower() for name in ("cuda", "cublas", "cudnn", "cufft", "mps"))


def first_line(error: BaseException) -> str:
    """The error without PyTorch's memory statistics."""
    lines = str(error).strip().splitlines()
    return (lines[0].partition(". GPU ")[0] if lines else type(error).__name__).rstrip(".")


def join_notes(*notes: str | None) -> str | None:
    """The non-empty notes without repeats, joined."""
    return " ".join(dict.fromkeys(note for note in notes if note)) or None


def _note(reason: str, device: str) -> str:
    return f"{_title(device)} was not used: {reason}."


def _title(device: str) -> str:
    return APPLE_GPU if device == MPS else CUDA_DEVICE


def _refusal(name: str) -> str | None:
    """Why a GPU cannot be used; None where it computes what the CPU computes."""
    try:
        import torch

        is_mps = name == MPS
        if not is_mps and torch.version.cuda is None:
            return f"the installed PyTorch {torch.__version__} is built without CUDA"
        if not (torch.backends.mps if is_mps else torch.cuda).is_available():
            return f"PyTorch {torch.__version__} finds no device that it can use"
        values = torch.linspace(-1, 1, PROBE_SIZE * PROBE_SIZE).view(PROBE_SIZE, PROBE_SIZE)
        exact = values @ values
        moved = values.to(name)
        for computed in (moved @ moved, moved.half() @ moved.half(), _convolved(moved)):
            if float((computed.float().cpu() - exact).norm() / exact.norm()) > MAX_PROBE_ERROR:
                return "it computes wrong products"
    except Exception as error:
        return first_line(error)
    return None


def _convolved(values: Any) -> Any:
    """The product of a matrix with itself as a convolution of one tap, which cuDNN computes."""
    from torch.nn import functional

    return functional.conv1d(values.t()[None], values.t()[:, :, None])[0].t()


def release_memory() -> None:
    """Release the GPU memory of unloaded models."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    try:
        if torch.cuda.is_initialized():
            gc.collect()
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            gc.collect()
            torch.mps.empty_cache()
    except RuntimeError as error:
        # After some failures, such as an illegal access, every call to the device fails.
        log.warning("GPU memory cannot be released: %s", first_line(error))
