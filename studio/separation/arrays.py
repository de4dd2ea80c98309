"""The arithmetic of a separation's stream, in NumPy or on PyTorch's device.

Where the networks run on a CUDA device, windows are cut and stems added up there as well: one core
of a processor needs several times as long for that as the device for the networks.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = Any
"""float32, an array of NumPy or a tensor of PyTorch; both share operators and slices."""
HostArray = npt.NDArray[np.float32]


class Arrays(Protocol):
    """What arrays of NumPy and tensors of PyTorch do not have in common."""

    def load(self, values: HostArray) -> Array:
        """An array of these values."""

    def store(self, array: Array) -> HostArray:
        """The values of an array (..., channels, samples)."""

    def zeros(self, *shape: int) -> Array: ...

    def copy(self, array: Array) -> Array: ...

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """The parts one after the other, on the last axis."""

    def stack(self, parts: Sequence[Array]) -> Array: ...

    def pad(self, array: Array, before: int, after: int) -> Array:
        """Zeros before and after it, on the last axis."""


class NumpyArrays:
    """Arrays of NumPy."""

    def load(self, values: HostArray) -> Array:
        return values

    def store(self, array: Array) -> HostArray:
        values: HostArray = array
        return values

    def zeros(self, *shape: int) -> Array:
        return np.zeros(shape, np.float32)

    def copy(self, array: Array) -> Array:
        return array.copy()

    def concatenate(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=-1)

    def stack(self, parts: Sequence[Array]) -> Array:
        return np.stack(parts)

    def pad(self, array: Array, before: int, after: int) -> Array:
        return np.pad(array, ((0, 0), (before, after)))


class TorchArrays:
    """Tensors of PyTorch on a device. Each operation may raise `torch.OutOfMemoryError`."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._is_pinned = self._device.type == "cuda"

    def load(self, values: HostArray) -> Array:
        return self._torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def store(self, array: Array) -> HostArray:
        # Files hold the channels of a sample side by side; the device brings them together.
        frames = array.transpose(-1, -2).contiguous()
        # Copies to pinned memory are several times as fast.
        kept = self._torch.empty(
            frames.shape, dtype=self._torch.float32, pin_memory=self._is_pinned
        )
        kept.copy_(frames)
        values: HostArray = kept.numpy().swapaxes(-1, -2)
        return values

    def zeros(self, *shape: int) -> Array:
        return self._torch.zeros(shape, device=self._device)

    def copy(self, array: Array) -> Array:
        return array.clone()

    def concatenate(self, parts: Sequence[Array]) -> Array:
        return self._torch.cat(list(parts), dim=-1)

    def stack(self, parts: Sequence[Array]) -> Array:
        return self._torch.stack(list(parts))

    def pad(self, array: Array, before: int, after: int) -> Array:
        return self._torch.nn.functional.pad(array, (before, after))


NUMPY = NumpyArrays()
