"""The mixture as a stream: its statistics, and the part of it that is still needed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from studio.audio import Sound
from studio.separation.network import Stems


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
            mono = block.mean(axis=0, dtype=np.float64)
            samples += mono.size
            total += float(mono.sum())
            squares += float(np.dot(mono, mono))
        if samples < 2:
            return cls(samples, total, 0.0)
        mean = total / samples
        variance = max(0.0, squares - samples * mean * mean) / (samples - 1)
        return cls(samples, mean, float(np.sqrt(variance)))


class Mixture:
    """The part of the mixture that is still needed, filled from an iterator of blocks.

    It is separated into so many `sources`.
    """

    def __init__(
        self, blocks: Iterator[Sound], channels: int, statistics: Statistics, sources: int
    ) -> None:
        self._blocks = blocks
        self._length = statistics.samples
        self._mean = np.float32(statistics.mean)
        self._share = np.float32(statistics.mean / sources)
        self._scale = np.float32(statistics.deviation + 1e-8)
        self._held: Sound = np.zeros((channels, 0), np.float32)
        self._start = 0

    def raw(self, start: int, stop: int) -> Sound:
        """Samples [start, stop) as they were decoded; both lie inside the recording."""
        self._fill(stop)
        return self._held[:, start - self._start : stop - self._start]

    def normalised(self, start: int, stop: int) -> Sound:
        """Samples [start, stop), normalised as Demucs does, zero outside of the recording."""
        inside = self.raw(max(0, start), min(stop, self._length))
        padding = (max(0, -start), max(0, stop - self._length))
        return np.pad((inside - self._mean) / self._scale, ((0, 0), padding))

    def denormalise(self, stems: Stems) -> Stems:
        """Bring stems back to the level of the recording, in place.

        Each has its share of the mean, so that all sources add up to the recording. Demucs gives
        the whole mean to each of them.
        """
        stems *= self._scale
        stems += self._share
        return stems

    def forget(self, before: int) -> None:
        """Samples before this position will not be asked for again."""
        if before > self._start:
            self._held = self._held[:, before - self._start :].copy()
            self._start = before

    def _fill(self, stop: int) -> None:
        missing = stop - self._start - self._held.shape[1]
        parts = [self._held]
        while missing > 0:
            block = next(self._blocks, None)
            if block is None:
                parts.append(np.zeros((self._held.shape[0], missing), np.float32))
                break
            parts.append(block)
            missing -= block.shape[1]
        if len(parts) > 1:
            self._held = np.concatenate(parts, axis=1)
