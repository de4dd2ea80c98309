"""One separation job: a sound file becomes tracks in a folder, block by block."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import numpy as np

from studio import audio
from studio.audio import Sound, SoundWriter
from studio.errors import NotAudio
from studio.family import JobContext, share_before_encoding
from studio.inference.device_use import device_use
from studio.inference.devices import first_line, is_device_failure, join_notes
from studio.inference.worker_threads import WorkerThreads
from studio.separation.arrays import NUMPY, Arrays
from studio.separation.mixture import Statistics
from studio.separation.network import Bag
from studio.separation.options import SeparationOptions
from studio.separation.result import SeparationResult
from studio.separation.song import Song
from studio.separation.stream import Separation
from studio.sources import Source

log = logging.getLogger(__name__)

# Share of the whole that encoding into the wanted format takes, roughly, of a job that needs it.
ENCODING_SHARE = 0.1
# This many samples and their copies fit into the cache of a core.
WRITTEN_AT_ONCE = 1 << 15


def separate(bag: Bag, source: Source, context: JobContext[SeparationOptions]) -> SeparationResult:
    """Separate a song into `context.work`.

    Much more audio than `source.duration_s` is not decoded. Stems are written as 32-bit float WAV
    at the model's rate, all under one gain (1), so that they add up to the mixture as far as the
    model's do.
    """
    started_s = time.monotonic()
    options, report = context.options, context.report
    stems = [bag.sources[i] for i in bag.indices(options.stems or [])]
    report("analysing", 0.0)
    song = Song(bag, source)
    statistics = song.statistics(report)
    if statistics.samples == 0:
        raise NotAudio("The file contains no audio.")
    context.reserve(statistics.samples * bag.channels * 4 * len(stems))
    share = share_before_encoding(options.format, ENCODING_SHARE)
    with device_use() as use:
        peaks, note = _separated(
            bag, song, statistics, context, lambda done: report("separating", share * done)
        )
    gain = context.encode_tracks(stems, options.format, peaks, share)
    elapsed_s = time.monotonic() - started_s
    separated_s = statistics.samples / bag.sample_rate_hz
    return SeparationResult(
        engine=bag.engine,
        precision=bag.precision,
        note=join_notes(bag.note, use.note, note),
        stems=stems,
        format=options.format,
        sample_rate_hz=bag.sample_rate_hz,
        channels=bag.channels,
        samples=statistics.samples,
        duration_s=round(separated_s, 3),
        gain=round(gain, 6),
        elapsed_s=round(elapsed_s, 3),
        real_time_factor=round(elapsed_s / separated_s, 4),
    )


def _separated(
    bag: Bag,
    song: Song,
    statistics: Statistics,
    context: JobContext[SeparationOptions],
    on_share: Callable[[float], None],
) -> tuple[list[float], str | None]:
    """Separate into `context.work`. Returns the peaks, and a note if the device failed at it."""
    options = context.options
    indices = bag.indices(options.stems or [])

    def separated(arrays: Arrays) -> list[float]:
        on_share(0.0)
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
            stems = [bag.sources[i] for i in indices]
            return _write(
                separation,
                bag,
                stems,
                statistics,
                work=context.work,
                on_segment=lambda done: on_share(done / separation.segments),
            )

    try:
        return separated(bag.arrays), None
    except RuntimeError as error:
        if bag.arrays is NUMPY or not is_device_failure(error):
            raise
        note = f"Stems were combined on the CPU: {first_line(error)}."
        log.warning(note)
        return separated(NUMPY), note


def _write(
    separation: Separation,
    bag: Bag,
    stems: list[str],
    statistics: Statistics,
    *,
    work: Path,
    on_segment: Callable[[int], None],
) -> list[float]:
    """Write the stems. Returns the peak of each, and of the mixture without each."""
    residual_peaks = [0.0] * len(stems)
    with (
        audio.track_writers(
            work, stems, bag.sample_rate_hz, bag.channels, statistics.samples, with_peaks=True
        ) as writers,
        # Each stem is written by a thread of its own, while the next block is separated.
        WorkerThreads(len(stems)) as threads,
    ):
        writing: list[Future[float]] = []
        for mixture, parts in separation.run(on_segment):
            _keep_peaks(residual_peaks, writing)
            writing = [
                threads.submit(_write_block, writer, mixture, part)
                for writer, part in zip(writers, parts, strict=True)
            ]
            # Free the block once it is written, not when the next one arrives.
            del mixture, parts
        _keep_peaks(residual_peaks, writing)
        for closed in [threads.submit(writer.close) for writer in writers]:
            closed.result()
    return [writer.peak for writer in writers] + residual_peaks


def _write_block(writer: SoundWriter, mixture: Sound, part: Sound) -> float:
    """Write a block of one stem. Returns the peak of the mixture without it."""
    peak = 0.0
    for start in range(0, part.shape[1], WRITTEN_AT_ONCE):
        piece = slice(start, start + WRITTEN_AT_ONCE)
        writer.write(part[:, piece])
        peak = max(peak, float(np.abs(mixture[:, piece] - part[:, piece]).max()))
    return peak


def _keep_peaks(peaks: list[float], writing: list[Future[float]]) -> None:
    """Wait for the blocks that are being written."""
    for number, block in enumerate(writing):
        peaks[number] = max(peaks[number], block.result())
