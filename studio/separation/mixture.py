"""The mixture as a stream: its statistics, and the part of it that is still needed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.audio import Sound
from studio.separation.arrays import Array, Arrays


@dataclass(frozen=True)
class Statistics:
    """Length in samples, and mean and standard deviation of the mono mixture, of a recording."""

    samples: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, blocks: Iterable[Sound]) -> "Statistics":
        """One pass over blocks float32 (channels, samples)."""
        samples, total, squares = 0, 0.0, 0.0
        for block in blocks:
            mono = _mono(block)
            samples += mono.size
            total += float(mono.sum())
            squares += float(np.dot(mono, mono))
        if samples < 2:
            return cls(samples, total, 0.0)
        mean = total / samples
        variance = max(0.0, squares - samples * mean * mean) / (samples - 1)
        return cls(samples, mean, float(np.sqrt(variance)))


def _mono(block: Sound) -> npt.NDArray[np.float64]:
    """The mean of the channels, several times as fast as NumPy's of so short an axis."""
    total: npt.NDArray[np.float64] = block[0].astype(np.float64)
    for channel in block[1:]:
        total += channel
    total /= len(block)
    return total


class Mixture:
    """The part of the mixture that is still needed, filled from an iterator of blocks.

    `sources` is the number of stems.
    """

    def __init__(
        self,
        blocks: Iterator[Sound],
        arrays: Arrays,
        channels: int,
        statistics: Statistics,
        sources: int,
    ) -> None:
        self._blocks = blocks
        self._arrays = arrays
        self._length = statistics.samples
        self._mean = float(np.float32(statistics.mean))
        self._share = float(np.float32(statistics.mean / sources))
        self._scale = float(np.float32(statistics.deviation + 1e-8))
        self._held = arrays.zeros(channels, 0)
        self._start = 0

    def raw(self, start: int, stop: int) -> Array:
        """Samples [start, stop) as they were decoded; both lie inside the recording."""
        self.fill(stop)
        return self._held[:, start - self._start : stop - self._start]

    def normalised(self, start: int, stop: int) -> Array:
        """Samples [start, stop), normalised as Demucs does, zero outside of the recording."""
        inside = self.raw(max(0, start), min(stop, self._length))
        normalised = (inside - self._mean) / self._scale
        return self._arrays.pad(normalised, max(0, -start), max(0, stop - self._length))

    def denormalise(self, stems: Array) -> Array:
        """Bring stems back to the level of the recording, in place.

        Each has its share of the mean, so that all sources add up to the recording. Demucs gives
        the whole mean to each of them.
        """
        stems *= self._scale
        stems += self._share
        return stems

    def forget(self, before: int) -> None:
        """Drop the samples before this position, which are no longer needed."""
        if before > self._start:
            self._held = self._arrays.copy(self._held[:, before - self._start :])
            self._start = before

    def fill(self, stop: int) -> None:
        """Decode up to `stop`, but not beyond the end of the recording."""
        missing = min(stop, self._length) - self._start - self._held.shape[1]
        parts = [self._held]
        while missing > 0:
            block = next(self._blocks, None)
            if block is None:
                parts.append(self._arrays.zeros(self._held.shape[0], missing))
                break
            parts.append(self._arrays.load(block))
            missing -= block.shape[1]
        if len(parts) > 1:
            self._held = self._arrays.concatenate(parts)
