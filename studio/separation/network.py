"""What a separation engine offers: networks that split one window of sound, in bags.

A bag averages several networks, each weighted per source (Demucs's own term and format).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from studio.errors import UnknownStem
from studio.separation.arrays import NUMPY, Array, Arrays

Stems = npt.NDArray[np.float32]
"""float32 (stems, channels, samples), full scale 1.0."""

Windows = npt.NDArray[np.float32]
"""float32 (batch, channels, samples): windows of the normalised mixture."""


class Network(Protocol):
    """One network: splits windows of normalised sound into their sources. Thread-safe.

    Call it with `batch` windows, which are arrays of the bag, from up to `parallel` threads.
    `batch` may change while a job runs.
    """

    segment_samples: int
    parallel: int

    @property
    def batch(self) -> int: ...

    def window_samples(self, length: int) -> int:
        """Length of the window that a segment of `length` samples must be padded to."""

    def __call__(self, windows: Array) -> Array:
        """float32 (batch, channels, samples) -> float32 (batch, sources, channels, samples)."""


@dataclass(frozen=True)
class Member:
    """A network of a bag and its weight for each source."""

    network: Network
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Bag:
    """A loaded model: networks whose weighted mean is the answer.

    `sources` names the stems in the networks' order; all networks work at `sample_rate_hz` with
    `channels` channels. `engine` and `precision` are those of the networks; `note` says why a
    slower engine was used. `arrays` is the array library of the networks, beside NumPy.
    """

    members: tuple[Member, ...]
    sources: tuple[str, ...]
    sample_rate_hz: int
    channels: int
    engine: str = ""
    precision: str = ""
    note: str | None = None
    arrays: Arrays = NUMPY

    def rehearse(self) -> None:
        """Use every network once, on silence."""
        for member in self.members:
            samples = member.network.window_samples(member.network.segment_samples)
            member.network(np.zeros((1, self.channels, samples), np.float32))

    def indices(self, stems: Sequence[str]) -> list[int]:
        """Positions of the named stems among the sources; all of them when none is named."""
        check_stems(stems, self.sources)
        return [i for i, source in enumerate(self.sources) if not stems or source in stems]


def check_stems(stems: Sequence[str], sources: Sequence[str]) -> None:
    """Raise UnknownStem where one of the stems is not among the sources."""
    if unknown := [stem for stem in stems if stem not in sources]:
        raise UnknownStem(f"The model has no stem {unknown[0]!r}. Available: {', '.join(sources)}.")
