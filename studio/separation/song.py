"""The song of a separation job, block by block: once for its statistics, once to be separated."""

from collections.abc import Generator, Iterator
from contextlib import closing

from studio import audio
from studio.audio import Sound
from studio.inference.worker_threads import read_ahead
from studio.jobs.job import Report
from studio.separation.arrays import NUMPY
from studio.separation.mixture import Statistics
from studio.separation.network import Bag
from studio.sources import Source

# Blocks of a few seconds that are decoded before they are needed.
BLOCKS_AHEAD = 2
# On a CUDA device, decoding a song twice takes longer than separating it. Songs of up to this
# length are kept in memory: 212 MB of stereo at 44,100 Hz.
KEPT_S = 600.0


class Song:
    """Blocks at the rate of a bag. Memory use does not grow with the song beyond KEPT_S."""

    def __init__(self, bag: Bag, source: Source) -> None:
        self._bag = bag
        self._source = source
        self._kept: list[Sound] | None = None

    def statistics(self, report: Report) -> Statistics:
        """Length, mean and deviation of the mixture; a cancel is noticed at each block."""
        is_kept = self._bag.arrays is not NUMPY and self._source.duration_s <= KEPT_S
        kept: list[Sound] = []

        def reported(blocks: Iterator[Sound]) -> Iterator[Sound]:
            for block in blocks:
                report("analysing", 0.0)
                if is_kept:
                    kept.append(block)
                yield block

        with closing(self._decoded()) as blocks:
            statistics = Statistics.of(reported(blocks))
        self._kept = kept if is_kept else None
        return statistics

    def blocks(self) -> Generator[Sound, None, None]:
        """The blocks of the song. Those in memory are freed on the way."""
        kept, self._kept = self._kept, None
        if kept is None:
            yield from self._decoded()
            return
        kept.reverse()
        while kept:
            yield kept.pop()

    def _decoded(self) -> Generator[Sound, None, None]:
        bag, source = self._bag, self._source
        decoded = audio.decode(source.path, bag.sample_rate_hz, bag.channels, source.duration_s)
        return read_ahead(decoded, BLOCKS_AHEAD)
