"""Separation of a stream by overlapping segments, at a memory cost that does not grow with it.

The arithmetic is that of `demucs.apply.apply_model` (Defossez 2021, "Hybrid Spectrogram and
Waveform Source Separation"): segments with a triangular weight, added and divided by the sum of
weights; random shifts averaged; the networks of a bag averaged with their weights. The order of
work is different: each sample leaves as soon as no later segment can change it, and decoding, the
networks and the caller's writing overlap in time.
"""

import random
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.audio import Sound
from studio.inference.worker_threads import WorkerThreads
from studio.separation.arrays import Array, Arrays
from studio.separation.mixture import Mixture, Statistics
from studio.separation.network import Bag, Member, Stems

# Demucs shifts by up to half a second.
MAX_SHIFT_S = 0.5
SHIFT_SEED = 0


@dataclass(frozen=True)
class Segment:
    """Where a window lies in the mixture, and which part of it counts."""

    start: int
    window: int
    left: int
    length: int


class Lane:
    """One network's overlap-add over the recording.

    Windows are cut ahead (`cut`) and their stems added in the same order (`add`). `origin` (at most
    0) is where the first segment begins.
    """

    def __init__(
        self,
        member: Member,
        arrays: Arrays,
        chosen: list[int],
        *,
        origin: int,
        length: int,
        overlap: float,
    ) -> None:
        self.network = member.network
        self._arrays = arrays
        self._chosen = chosen
        self._length = length
        self._segment = member.network.segment_samples
        self._stride = int((1 - overlap) * self._segment)
        self.next_cut = origin
        self._next_added = origin
        self.segments = len(range(origin, length, self._stride))
        self._triangle = arrays.load(_triangle(self._segment))
        self._sum: Array | None = None
        self._weight = arrays.zeros(self._segment)

    @property
    def all_cut(self) -> bool:
        return self.next_cut >= self._length

    @property
    def needs_from(self) -> int:
        """The first mixture sample that the next window may touch."""
        return max(0, self._segment_at(self.next_cut).start)

    def _segment_at(self, position: int) -> Segment:
        length = min(self._segment, self._length - position)
        window = self.network.window_samples(length)
        left = (window - length) // 2
        return Segment(position - left, window, left, length)

    def cut(self, mixture: Mixture) -> tuple[list[Segment], Array]:
        """The next windows, at most as many as the network takes at once, all of one length."""
        segments = [self._take()]
        while len(segments) < self.network.batch and not self.all_cut:
            if self._segment_at(self.next_cut).window != segments[0].window:
                break
            segments.append(self._take())
        mixture.fill(segments[-1].start + segments[-1].window)
        cut = [mixture.normalised(one.start, one.start + one.window) for one in segments]
        return segments, self._arrays.stack(cut)

    def _take(self) -> Segment:
        segment = self._segment_at(self.next_cut)
        self.next_cut += self._stride
        return segment

    def add(self, segment: Segment, stems: Array) -> Array:
        """Add a segment's stems; what is final with them (stems, channels, samples)."""
        length = segment.length
        inside = slice(segment.left, segment.left + length)
        if self._sum is None:
            self._sum = self._arrays.zeros(len(self._chosen), stems.shape[1], self._segment)
        # All stems at once would take a copy of each.
        for total, index in zip(self._sum, self._chosen, strict=True):
            total[:, :length] += self._triangle[:length] * stems[index, :, inside]
        self._weight[:length] += self._triangle[:length]
        return self._take_final()

    def _take_final(self) -> Array:
        assert self._sum is not None
        stride = self._stride
        count = min(stride, self._length - self._next_added)
        before_start = max(0, min(count, -self._next_added))
        final = self._sum[..., :count] / self._weight[:count]
        kept = self._segment - stride
        self._sum[..., :kept] = self._arrays.copy(self._sum[..., stride:])
        self._sum[..., kept:] = 0
        self._weight[:kept] = self._arrays.copy(self._weight[stride:])
        self._weight[kept:] = 0
        self._next_added += stride
        return final[..., before_start:]


def _triangle(segment: int) -> npt.NDArray[np.float32]:
    """Demucs's weight of a segment: rising to its middle, falling after it, at most 1."""
    rising = np.arange(1, segment // 2 + 1)
    falling = np.arange(segment - segment // 2, 0, -1)
    weight: npt.NDArray[np.float32] = np.concatenate([rising, falling]).astype(np.float32)
    weight /= weight.max()
    return weight


_Flight = tuple[int, list[Segment], Future[Array]]
"""Segments on their way through a network: lane, segments, stems (batch, sources, ...)."""


class Separation:
    """The stream of one recording through a bag; iterate over it to run it.

    `stems` chooses sources by index; networks with no weight for them do not run. `shifts` > 0
    averages that many runs at random offsets (seeded: the same song gives the same result).
    `arrays` do the sums; they may be others than the bag's own.
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
        arrays: Arrays | None = None,
    ) -> None:
        self._arrays = arrays or bag.arrays
        self._mixture = Mixture(blocks, self._arrays, bag.channels, statistics, len(bag.sources))
        self._length = statistics.samples
        self._lanes: list[Lane] = []
        self._shares: list[Array] = []
        chosen = list(stems)
        totals = np.array([[m.weights[i] for i in chosen] for m in bag.members]).sum(axis=0)
        offsets = random.Random(SHIFT_SEED)
        max_shift = int(MAX_SHIFT_S * bag.sample_rate_hz)
        for member in bag.members:
            share = np.array([member.weights[i] for i in chosen]) / totals
            # Drawn for every network, so that a stem does not depend on which others are wanted.
            origins = [offsets.randint(0, max_shift) - max_shift for _ in range(shifts)] or [0]
            if not share.any():
                continue
            for origin in origins:
                self._lanes.append(
                    Lane(
                        member,
                        self._arrays,
                        chosen,
                        origin=origin,
                        length=self._length,
                        overlap=overlap,
                    )
                )
                self._shares.append(
                    self._arrays.load((share / len(origins)).astype(np.float32))[:, None, None]
                )
        self.segments = sum(lane.segments for lane in self._lanes)

    def run(self, on_segment: Callable[[int], None]) -> Generator[tuple[Sound, Stems], None, None]:
        """Yield (mixture (channels, n), stems (stems, channels, n)) in order, without gaps.

        Networks run on threads of their own, ahead of the caller. `on_segment` is called with the
        number of finished segments; what it raises ends the run after the segments in flight.
        """
        waiting: list[Array | None] = [None] * len(self._lanes)
        flying: deque[_Flight] = deque()
        parallel = max(lane.network.parallel for lane in self._lanes)
        done = emitted = 0
        with WorkerThreads(parallel) as threads:
            try:
                while emitted < self._length:
                    self._launch(threads, flying, parallel + 1)
                    index, segments, result = flying.popleft()
                    # The network's array is freed when its last segment has been added.
                    batch = deque(result.result())
                    del result
                    for segment in segments:
                        self._add(waiting, index, segment, batch.popleft())
                        done += 1
                        on_segment(done)
                        count = min(0 if part is None else part.shape[2] for part in waiting)
                        if count:
                            yield self._emit(waiting, emitted, count)
                            emitted += count
                    self._forget(emitted)
            finally:
                for _, _, result in flying:
                    result.cancel()

    def _launch(self, threads: WorkerThreads, flying: "deque[_Flight]", most: int) -> None:
        """Cut windows and hand them to the networks, the earliest first."""
        while len(flying) < most:
            open_lanes = [i for i, lane in enumerate(self._lanes) if not lane.all_cut]
            if not open_lanes:
                return
            index = min(open_lanes, key=lambda i: self._lanes[i].next_cut)
            segments, windows = self._lanes[index].cut(self._mixture)
            flying.append((index, segments, threads.submit(self._lanes[index].network, windows)))

    def _add(self, waiting: list[Array | None], index: int, segment: Segment, stems: Array) -> None:
        """Add a segment of a lane. Finished samples wait for the slowest lane."""
        piece = self._lanes[index].add(segment, stems)
        held = waiting[index]
        waiting[index] = piece if held is None else self._arrays.concatenate([held, piece])

    def _forget(self, emitted: int) -> None:
        needs = [lane.needs_from for lane in self._lanes if not lane.all_cut]
        self._mixture.forget(min([emitted, *needs]))

    def _emit(self, waiting: list[Array | None], start: int, count: int) -> tuple[Sound, Stems]:
        total: Array | None = None
        for i, part in enumerate(waiting):
            assert part is not None
            rest = part[..., count:]
            waiting[i] = self._arrays.copy(rest) if rest.shape[2] else None
            scaled = part[..., :count]
            scaled *= self._shares[i]
            if total is None:
                total = scaled
            else:
                total += scaled
        assert total is not None
        mixture = self._arrays.store(self._mixture.raw(start, start + count))
        return mixture, self._arrays.store(self._mixture.denormalise(total))
