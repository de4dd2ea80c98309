"""Separation of a stream by overlapping segments, at a memory cost that does not grow with it.

The arithmetic is that of `demucs.apply.apply_model` (Defossez 2021, "Hybrid Spectrogram and
Waveform Source Separation"): segments with a triangular weight, added and divided by the sum of
weights; random shifts averaged; the networks of a bag averaged with their weights. The order of
work is different: each sample leaves as soon as no later segment can change it, and decoding, the
networks and the caller's writing overlap in time.
"""

import random
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from studio.audio import Sound
from studio.inference.worker_threads import WorkerThreads
from studio.separation.arrays import Array, Arrays
from studio.separation.mixture import Mixture, Statistics
from studio.separation.network import Bag, Network, Stems
from studio.separation.overlap_add import OverlapAdd, SegmentWeights

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
    """The segments of one network at one shift, over the whole recording.

    Windows are cut ahead (`cut`) and their stems added in the same order (`add`). `origin` (at most
    0) is where the first segment begins. `shares` are those of the network in the chosen stems.
    """

    def __init__(
        self,
        network: Network,
        weights: SegmentWeights,
        shares: Mapping[int, float],
        chosen: Sequence[int],
        *,
        origin: int,
        length: int,
        stride: int,
    ) -> None:
        self.network = network
        self._weights = weights
        self._shares = shares
        self._chosen = chosen
        self._length = length
        self._segment = network.segment_samples
        self._stride = stride
        self._origin = origin
        self.next_cut = origin
        self._added = 0
        self.segments = len(range(origin, length, stride))

    @property
    def all_cut(self) -> bool:
        return self.next_cut >= self._length

    @property
    def final_samples(self) -> int:
        """The samples at the beginning to which nothing is added any more."""
        return min(self._length, max(0, self._origin + self._added * self._stride))

    @property
    def needs_from(self) -> int:
        """The first mixture sample that the next window may touch."""
        return max(0, self._segment_at(self.next_cut).start)

    def _segment_at(self, position: int) -> Segment:
        length = min(self._segment, self._length - position)
        window = self.network.window_samples(length)
        left = (window - length) // 2
        return Segment(position - left, window, left, length)

    def cut(self, mixture: Mixture, arrays: Arrays) -> tuple[list[Segment], Array]:
        """The next windows, at most as many as the network takes at once, all of one length."""
        segments = [self._take()]
        while len(segments) < self.network.batch and not self.all_cut:
            if self._segment_at(self.next_cut).window != segments[0].window:
                break
            segments.append(self._take())
        mixture.fill(segments[-1].start + segments[-1].window)
        cut = [mixture.normalised(one.start, one.start + one.window) for one in segments]
        return segments, arrays.stack(cut)

    def _take(self) -> Segment:
        segment = self._segment_at(self.next_cut)
        self.next_cut += self._stride
        return segment

    def add(self, segment: Segment, stems: Array, total: OverlapAdd) -> None:
        """Add the stems of the next segment to a sum of the chosen ones."""
        inside = slice(segment.left, segment.left + segment.length)
        weights = self._weights.of(self._added)[: segment.length]
        sounds = [
            (stem, self._shares[stem], stems[self._chosen[stem], :, inside])
            for stem in self._shares
        ]
        total.add(segment.start + segment.left, sounds, weights)
        self._added += 1


_InFlight = tuple[int, list[Segment], Future[Array]]
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
            segment = member.network.segment_samples
            stride = int((1 - overlap) * segment)
            weights = SegmentWeights(segment, stride, self._arrays)
            shares = {n: float(one) / len(origins) for n, one in enumerate(share) if one}
            self._lanes += [
                Lane(
                    member.network,
                    weights,
                    shares,
                    chosen,
                    origin=origin,
                    length=self._length,
                    stride=stride,
                )
                for origin in origins
            ]
        longest = max(lane.network.segment_samples for lane in self._lanes)
        self._sum = OverlapAdd(self._arrays, len(chosen), bag.channels, longest)
        self.segments = sum(lane.segments for lane in self._lanes)

    def run(self, on_segment: Callable[[int], None]) -> Generator[tuple[Sound, Stems], None, None]:
        """Yield (mixture (channels, n), stems (stems, channels, n)) in order, without gaps.

        Networks run on threads of their own, ahead of the caller. `on_segment` is called with the
        number of finished segments; what it raises ends the run after the segments in flight.
        """
        in_flight: deque[_InFlight] = deque()
        parallel = max(lane.network.parallel for lane in self._lanes)
        done = emitted = 0
        with WorkerThreads(parallel) as threads:
            try:
                while emitted < self._length:
                    self._launch(threads, in_flight, parallel + 1)
                    index, segments, result = in_flight.popleft()
                    # The network's array is freed when its last segment has been added.
                    batch = deque(result.result())
                    del result
                    for segment in segments:
                        self._lanes[index].add(segment, batch.popleft(), self._sum)
                        done += 1
                        on_segment(done)
                        final = min(lane.final_samples for lane in self._lanes)
                        if final > emitted:
                            yield self._emit(emitted, final)
                            emitted = final
                    self._forget(emitted)
            finally:
                for _, _, result in in_flight:
                    result.cancel()

    def _launch(
        self, threads: WorkerThreads, in_flight: "deque[_InFlight]", max_in_flight: int
    ) -> None:
        """Cut windows and hand them to the networks, the earliest first."""
        while len(in_flight) < max_in_flight:
            open_lanes = [i for i, lane in enumerate(self._lanes) if not lane.all_cut]
            if not open_lanes:
                return
            index = min(open_lanes, key=lambda i: self._lanes[i].next_cut)
            segments, windows = self._lanes[index].cut(self._mixture, self._arrays)
            in_flight.append((index, segments, threads.submit(self._lanes[index].network, windows)))

    def _forget(self, emitted: int) -> None:
        needs = [lane.needs_from for lane in self._lanes if not lane.all_cut]
        self._mixture.forget(min([emitted, *needs]))

    def _emit(self, start: int, stop: int) -> tuple[Sound, Stems]:
        stems = self._mixture.denormalise(self._sum.take(stop - start))
        mixture = self._arrays.store(self._mixture.raw(start, stop))
        return mixture, self._arrays.store(stems)
