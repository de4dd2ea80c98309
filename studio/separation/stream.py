"""Separation of a stream by overlapping segments, at a memory cost that does not grow with it.

The arithmetic is that of `demucs.apply.apply_model` (Defossez 2021, "Hybrid Spectrogram and
Waveform Source Separation"): segments with a triangular weight, added and divided by the sum of
weights; random shifts averaged; the networks of a bag averaged with their weights. The order of
work is different: each sample leaves as soon as no later segment can change it.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.audio import Sound
from studio.separation.network import Bag, Member, Stems

# Demucs shifts by up to half a second.
MOST_SHIFT_S = 0.5
SHIFT_SEED = 0


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
    """The part of the mixture that is still needed, filled from an iterator of blocks."""

    def __init__(self, blocks: Iterator[Sound], channels: int, statistics: Statistics) -> None:
        self._blocks = blocks
        self._length = statistics.samples
        self._mean = np.float32(statistics.mean)
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
        """Bring stems back to the level of the recording."""
        return stems * self._scale + self._mean

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


class Lane:
    """One network's overlap-add over the recording, segment by segment.

    `origin` (at most 0) is where its first segment begins.
    """

    def __init__(
        self, member: Member, chosen: list[int], origin: int, length: int, overlap: float
    ) -> None:
        self._network = member.network
        self._chosen = chosen
        self._length = length
        self._segment = member.network.segment_samples
        self.stride = int((1 - overlap) * self._segment)
        self.position = origin
        self.segments = len(range(origin, length, self.stride))
        self._triangle = _triangle(self._segment)
        self._sum: Stems | None = None
        self._weight = np.zeros(self._segment, np.float32)

    @property
    def finished(self) -> bool:
        return self.position >= self._length

    @property
    def needs_from(self) -> int:
        """The first mixture sample that the next window may touch."""
        length = min(self._segment, self._length - self.position)
        return max(0, self.position - (self._network.window_samples(length) - length) // 2)

    def step(self, mixture: Mixture) -> Stems:
        """Run the next segment; the stems (stems, channels, samples) that are final with it."""
        length = min(self._segment, self._length - self.position)
        window = self._network.window_samples(length)
        left = (window - length) // 2
        start = self.position - left
        stems = self._network(mixture.normalised(start, start + window))
        stems = stems[self._chosen, :, left : left + length]
        if self._sum is None:
            self._sum = np.zeros((*stems.shape[:2], self._segment), np.float32)
        self._sum[..., :length] += self._triangle[:length] * stems
        self._weight[:length] += self._triangle[:length]
        return self._take_final()

    def _take_final(self) -> Stems:
        assert self._sum is not None
        count = min(self.stride, self._length - self.position)
        before_start = max(0, min(count, -self.position))
        final: Stems = self._sum[..., :count] / self._weight[:count]
        kept = self._segment - self.stride
        self._sum[..., :kept] = self._sum[..., self.stride :].copy()
        self._sum[..., kept:] = 0
        self._weight[:kept] = self._weight[self.stride :].copy()
        self._weight[kept:] = 0
        self.position += self.stride
        return final[..., before_start:]


def _triangle(segment: int) -> npt.NDArray[np.float32]:
    """Demucs's weight of a segment: rising to its middle, falling after it, at most 1."""
    rising = np.arange(1, segment // 2 + 1)
    falling = np.arange(segment - segment // 2, 0, -1)
    weight: npt.NDArray[np.float32] = np.concatenate([rising, falling]).astype(np.float32)
    weight /= weight.max()
    return weight


class Separation:
    """The stream of one recording through a bag; iterate over it to run it.

    `stems` chooses sources by index; networks with no weight for them do not run. `shifts` > 0
    averages that many runs at random offsets (seeded: the same song gives the same result).
    """

    def __init__(
        self,
        bag: Bag,
        blocks: Iterator[Sound],
        statistics: Statistics,
        stems: Sequence[int],
        *,
        overlap: float = 0.25,
        shifts: int = 0,
    ) -> None:
        self._bag = bag
        self._mixture = Mixture(blocks, bag.channels, statistics)
        self._length = statistics.samples
        self._lanes: list[Lane] = []
        self._shares: list[npt.NDArray[np.float32]] = []
        chosen = list(stems)
        totals = np.array([[m.weights[i] for i in chosen] for m in bag.members]).sum(axis=0)
        offsets = random.Random(SHIFT_SEED)
        most_shift = int(MOST_SHIFT_S * bag.sample_rate_hz)
        for member in bag.members:
            share = np.array([member.weights[i] for i in chosen]) / totals
            # Drawn for every network, so that a stem does not depend on which others are wanted.
            origins = [offsets.randint(0, most_shift) - most_shift for _ in range(shifts)] or [0]
            if not share.any():
                continue
            for origin in origins:
                self._lanes.append(Lane(member, chosen, origin, self._length, overlap))
                self._shares.append((share / len(origins)).astype(np.float32))
        self.segments = sum(lane.segments for lane in self._lanes)

    def run(self, on_segment: Callable[[int], None]) -> Iterator[tuple[Sound, Stems]]:
        """Yield (mixture (channels, n), stems (stems, channels, n)) in order, without gaps.

        `on_segment` is called with the number of finished segments; what it raises ends the run.
        """
        waiting: list[Stems | None] = [None] * len(self._lanes)
        done = emitted = 0
        while emitted < self._length:
            index = min(
                (i for i, lane in enumerate(self._lanes) if not lane.finished),
                key=lambda i: self._lanes[i].position,
            )
            piece = self._lanes[index].step(self._mixture)
            held = waiting[index]
            waiting[index] = piece if held is None else np.concatenate([held, piece], axis=2)
            done += 1
            on_segment(done)
            ready = [part for part in waiting if part is not None]
            count = min(part.shape[2] for part in ready) if len(ready) == len(waiting) else 0
            if count:
                yield self._emit(waiting, emitted, count)
                emitted += count
                needs = [lane.needs_from for lane in self._lanes if not lane.finished]
                self._mixture.forget(min([emitted, *needs]))

    def _emit(self, waiting: list[Stems | None], start: int, count: int) -> tuple[Sound, Stems]:
        total: Stems | None = None
        for i, part in enumerate(waiting):
            assert part is not None
            scaled = part[..., :count] * self._shares[i][:, None, None]
            total = scaled if total is None else total + scaled
            waiting[i] = part[..., count:].copy()
        assert total is not None
        return self._mixture.raw(start, start + count), self._mixture.denormalise(total)
