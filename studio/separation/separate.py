"""One separation job: a sound file becomes tracks in a folder, block by block."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio import audio
from studio.audio import Sound, SoundWriter
from studio.errors import NotAudio
from studio.inference.devices import first_line, is_device_failure, join_notes
from studio.inference.worker_threads import WorkerThreads, read_ahead
from studio.jobs.job import Report
from studio.separation.arrays import NUMPY, Arrays
from studio.separation.mixture import Statistics
from studio.separation.network import Bag
from studio.separation.options import SeparationOptions
from studio.separation.stream import Separation

log = logging.getLogger(__name__)

# Share of the whole that encoding into the wanted format takes, roughly, of a job that needs it.
ENCODING_SHARE = 0.1
# Blocks of a few seconds that are decoded before they are needed.
BLOCKS_AHEAD = 2
# On a CUDA device decoding a song twice would take longer than separating it: so many seconds of
# it are kept, 212 MB of stereo at 44,100 Hz.
KEPT_S = 600.0


def separate(
    bag: Bag,
    source: Path,
    duration_s: float,
    options: SeparationOptions,
    work: Path,
    report: Report,
    reserve: Callable[[int], None],
) -> dict[str, Any]:
    """Separate `source` into `work`; the description of the tracks, for the job's record.

    `duration_s` is what the upload was found to hold; much more than that is not decoded.
    Stems are written as 32-bit float WAV at the model's rate, all under one gain (1), so that
    they add up to the mixture as far as the model's do. `gain` in the answer is what fixed-point
    formats need. `reserve(bytes)` is asked for disk space before anything is written.
    """
    started_s = time.monotonic()
    indices = bag.indices(options.stems or [])
    stems = [bag.sources[i] for i in indices]
    report("analysing", 0.0)
    song = _Song(bag, source, duration_s)
    statistics = song.statistics(report)
    if statistics.samples == 0:
        raise NotAudio("The file holds no sound.")
    reserve(statistics.samples * bag.channels * 4 * len(stems))
    share = 1.0 if options.format == "wav" else 1.0 - ENCODING_SHARE
    note = None

    def separated(arrays: Arrays) -> list[float]:
        report("separating", 0.0)
        return _separated(
            song,
            statistics,
            options,
            arrays,
            work,
            lambda done: report("separating", share * done),
        )

    try:
        peaks = separated(bag.arrays)
    except RuntimeError as error:
        if bag.arrays is NUMPY or not is_device_failure(error):
            raise
        note = f"The CPU added up the stems: {first_line(error)}."
        log.warning(note)
        peaks = separated(NUMPY)
    gain = audio.shared_gain(peaks)
    if options.format != "wav":
        _encode(work, stems, options.format, gain, report)
    elapsed_s = time.monotonic() - started_s
    separated_s = statistics.samples / bag.sample_rate_hz
    return {
        "engine": bag.engine,
        "precision": bag.precision,
        "note": join_notes(bag.remark, note),
        "stems": stems,
        "format": options.format,
        "sample_rate_hz": bag.sample_rate_hz,
        "channels": bag.channels,
        "samples": statistics.samples,
        "duration_s": round(separated_s, 3),
        "gain": round(gain, 6),
        "elapsed_s": round(elapsed_s, 3),
        "real_time_factor": round(elapsed_s / separated_s, 4),
    }


@dataclass
class _Song:
    """What is to be separated: decoded once for its statistics, and once more to be separated."""

    bag: Bag
    source: Path
    duration_s: float
    _kept: list[Sound] | None = None

    def statistics(self, report: Report) -> Statistics:
        """Length, mean and deviation of the mixture; the sound itself may be kept meanwhile."""
        is_kept = self.bag.arrays is not NUMPY and self.duration_s <= KEPT_S
        kept: list[Sound] = []
        with closing(self._decoded()) as blocks:
            checked = _checked(blocks, report)
            statistics = Statistics.of(_kept(checked, kept) if is_kept else checked)
        self._kept = kept if is_kept else None
        return statistics

    def blocks(self) -> Generator[Sound, None, None]:
        """The sound, block by block. What was kept is forgotten on the way."""
        kept, self._kept = self._kept, None
        if kept is None:
            yield from self._decoded()
            return
        kept.reverse()
        while kept:
            yield kept.pop()

    def _decoded(self) -> Generator[Sound, None, None]:
        bag = self.bag
        decoded = audio.decode(self.source, bag.sample_rate_hz, bag.channels, self.duration_s)
        return read_ahead(decoded, BLOCKS_AHEAD)


def _kept(blocks: Iterator[Sound], kept: list[Sound]) -> Iterator[Sound]:
    """The same blocks, which are also appended to a list."""
    for block in blocks:
        kept.append(block)
        yield block


def _checked(blocks: Iterator[Sound], report: Report) -> Iterator[Sound]:
    """The same blocks; a cancel is noticed at each."""
    for block in blocks:
        report("analysing", 0.0)
        yield block


def _separated(
    song: _Song,
    statistics: Statistics,
    options: SeparationOptions,
    arrays: Arrays,
    work: Path,
    on_share: Callable[[float], None],
) -> list[float]:
    """Separate the song into `work`; the peaks, as from `_write`."""
    bag = song.bag
    indices = bag.indices(options.stems or [])
    with closing(song.blocks()) as blocks:
        separation = Separation(
            bag,
            blocks,
            statistics,
            indices,
            overlap=options.overlap,
            shifts=options.shifts,
            arrays=arrays,
        )

        def on_segment(done: int) -> None:
            on_share(done / separation.segments)

        stems = [bag.sources[i] for i in indices]
        return _write(separation, bag, stems, statistics, work, on_segment)


def _write(
    separation: Separation,
    bag: Bag,
    stems: list[str],
    statistics: Statistics,
    work: Path,
    on_segment: Callable[[int], None],
) -> list[float]:
    """Write the stems; the peaks of them and of what the mixture is without each."""
    residual_peaks = [0.0] * len(stems)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                SoundWriter(
                    work / f"{stem}.wav",
                    "wav",
                    bag.sample_rate_hz,
                    bag.channels,
                    statistics.samples,
                )
            )
            for stem in stems
        ]
        # Each stem is written by a thread of its own, while the next block is separated.
        threads = stack.enter_context(WorkerThreads(len(stems)))
        writing: list[Future[float]] = []
        for mixture, parts in separation.run(on_segment):
            _keep_peaks(residual_peaks, writing)
            writing = [
                threads.submit(_write_block, writer, mixture, part)
                for writer, part in zip(writers, parts, strict=True)
            ]
        _keep_peaks(residual_peaks, writing)
        for closed in [threads.submit(writer.close) for writer in writers]:
            closed.result()
    return [writer.peak for writer in writers] + residual_peaks


def _write_block(writer: SoundWriter, mixture: Sound, part: Sound) -> float:
    """Write a block of one stem; the peak of what the mixture is without it."""
    writer.write(part)
    return float(np.abs(mixture - part).max(initial=0.0))


def _keep_peaks(peaks: list[float], writing: list[Future[float]]) -> None:
    """Wait for the blocks that are being written."""
    for number, block in enumerate(writing):
        peaks[number] = max(peaks[number], block.result())


def _encode(work: Path, stems: list[str], audio_format: str, gain: float, report: Report) -> None:
    for number, stem in enumerate(stems):

        def on_block(share: float, before: int = number) -> None:
            done = (before + share) / len(stems)
            report("encoding", 1.0 - ENCODING_SHARE * (1.0 - done))

        on_block(0.0)
        target = work / f"{stem}.{audio_format}"
        audio.encode(work / f"{stem}.wav", target, audio_format, gain, on_block)
