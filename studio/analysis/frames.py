"""Cuts a stream of samples into overlapping frames."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

RATE_HZ = 22_050
"""The rate at which rhythm and harmony are analysed."""
# Frames that are transformed at once.
BATCH = 256
# Frames more than expected for which there is room from the beginning.
SPARE = 2 * BATCH


class Rows:
    """Features of frames, stored as float16 in one block of memory.

    Small arrays that stay, between large ones that go, would keep the memory of the large ones.
    """

    def __init__(self, width: int, expected: int) -> None:
        self._rows = np.zeros((expected + SPARE, width), np.float16)
        self._count = 0

    def add(self, rows: Samples) -> None:
        end = self._count + len(rows)
        if end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count : end] = rows
        self._count = end

    def finish(self) -> npt.NDArray[np.float16]:
        """All rows (frames, width)."""
        return self._rows[: self._count]


class Frames:
    """Yields magnitude spectra of frames of `size` samples, every `hop` samples.

    Frame i is centred on sample i * hop; the sound is taken to be silent before and after.
    """

    def __init__(self, size: int, hop: int) -> None:
        self._size = size
        self._hop = hop
        # A sinusoid of amplitude 1 has a peak of 1.
        self._window = (np.hanning(size) * (4 / size)).astype(np.float32)
        self._held = np.zeros(size // 2, np.float32)

    def add(self, samples: Samples) -> Iterator[Samples]:
        """The spectra (frames, size // 2 + 1) of frames that the next samples complete."""
        held = np.concatenate([self._held, samples])
        count = max(0, (len(held) - self._size) // self._hop + 1)
        self._held = held[count * self._hop :]
        return self._spectra(held, count)

    def finish(self) -> Iterator[Samples]:
        """The spectra of the frames at the end."""
        return self.add(np.zeros(self._size // 2, np.float32))

    def _spectra(self, held: Samples, count: int) -> Iterator[Samples]:
        from scipy.fft import rfft

        if count == 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(held, self._size)[:: self._hop]
        for start in range(0, count, BATCH):
            batch = frames[start : min(start + BATCH, count)]
            yield np.abs(rfft(batch * self._window, axis=1)).astype(np.float32)
