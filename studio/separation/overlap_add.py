"""Overlap-add: weighted segments are added up, and leave as soon as no later one can change them.

How much the segments that cover a sample weigh together is known in advance, so that all networks
and shifts are added into one sum. Its size does not depend on their number.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from studio.separation.arrays import Array, Arrays

Weights = npt.NDArray[np.float32]


class SegmentWeights:
    """Weights for the segments of one length and stride: with them, overlapping ones are a mean."""

    def __init__(self, segment: int, stride: int, arrays: Arrays) -> None:
        self._triangle = triangle(segment)
        self._stride = stride
        self._arrays = arrays
        self._overlapping = (segment - 1) // stride
        self._steady = self._load(self._overlapping)

    def of(self, before: int) -> Array:
        """Of the segment that has `before` segments before it."""
        return self._steady if before >= self._overlapping else self._load(before)

    def _load(self, before: int) -> Array:
        return self._arrays.load(segment_weights(self._triangle, self._stride, before))


def triangle(segment: int) -> Weights:
    """Demucs's weight of a segment: rising to its middle, falling after it, at most 1."""
    rising = np.arange(1, segment // 2 + 1)
    falling = np.arange(segment - segment // 2, 0, -1)
    weight: Weights = np.concatenate([rising, falling]).astype(np.float32)
    weight /= weight.max()
    return weight


def segment_weights(weight: Weights, stride: int, before: int) -> Weights:
    """The weight of a segment, divided by that of all segments: `before` earlier and any later."""
    segment = len(weight)
    total = weight.astype(np.float64)
    for distance in range(stride, segment, stride):
        total[distance:] += weight[:-distance]
    for distance in range(stride, min(segment, before * stride + 1), stride):
        total[:-distance] += weight[distance:]
    shares: Weights = (weight / total).astype(np.float32)
    return shares


class OverlapAdd:
    """The part of a sum (stems, channels, samples) that can still change, or was not taken yet."""

    def __init__(self, arrays: Arrays, stems: int, channels: int, samples: int) -> None:
        """`samples` is how much of it to expect."""
        self._arrays = arrays
        self._sum = arrays.zeros(stems, channels, samples)
        self._start = 0

    def add(
        self, position: int, sounds: Sequence[tuple[int, float, Array]], weights: Array
    ) -> None:
        """Add to stems, from a position in the recording, which may be before its beginning.

        `sounds` are (stem, share, (channels, samples)), all of the length of `weights`.
        """
        early = max(0, -position)
        begin = position + early - self._start
        end = begin + weights.shape[0] - early
        self._grow(end)
        # All stems at once would take a copy of each.
        for stem, share, sound in sounds:
            weighted = weights[early:] * sound[:, early:]
            if share != 1.0:
                weighted *= share
            self._sum[stem, :, begin:end] += weighted

    def _grow(self, samples: int) -> None:
        stems, channels, held = self._sum.shape
        if samples > held:
            more = self._arrays.zeros(stems, channels, samples - held)
            self._sum = self._arrays.concatenate([self._sum, more])

    def take(self, samples: int) -> Array:
        """The first samples of it, which nothing is added to any more."""
        taken = self._arrays.copy(self._sum[..., :samples])
        kept = self._sum.shape[2] - samples
        self._sum[..., :kept] = self._arrays.copy(self._sum[..., samples:])
        self._sum[..., kept:] = 0
        self._start += samples
        return taken
