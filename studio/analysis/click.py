"""The track `click`: a short tone on each beat, higher on downbeats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio import audio
from studio.analysis.beats import gap_at_start_s
from studio.analysis.frames import Floats, Samples
from studio.analysis.metre import Bars

RATE_HZ = 44_100
BEAT_HZ, DOWNBEAT_HZ = 1_000.0, 1_500.0
LENGTH_S, DECAY_S, ATTACK_S = 0.05, 0.012, 0.001
LEVEL = 0.5


@dataclass(frozen=True)
class Clicks:
    """Times of clicks in the track, and whether each is a downbeat.

    The song begins `count_in_s` after the track.
    """

    times_s: Floats
    is_downbeat: Sequence[bool]
    count_in_s: float


def clicks_of(bars: Bars, count_in_bars: int) -> Clicks:
    """A click for each beat, after `count_in_bars` bars of clicks in the tempo of the beginning."""
    count = count_in_bars * bars.beats_per_bar
    before = bars.times_s[0] - gap_at_start_s(bars.times_s) * np.arange(count, 0, -1)
    count_in_s = max(0.0, -float(before[0])) if count else 0.0
    first = bars.places[0]
    places = [(first - 1 - step) % bars.beats_per_bar + 1 for step in range(count, 0, -1)]
    return Clicks(
        np.concatenate([before, bars.times_s]) + count_in_s,
        [place == 1 for place in [*places, *bars.places]],
        count_in_s,
    )


def write(
    folder: Path, name: str, clicks: Clicks, samples: int, on_share: Callable[[float], None]
) -> float:
    """Write a mono WAV of `samples` at RATE_HZ. Returns its peak."""
    tones = {True: _tone(DOWNBEAT_HZ), False: _tone(BEAT_HZ)}
    starts = np.round(clicks.times_s * RATE_HZ).astype(int)
    with audio.track_writers(folder, [name], RATE_HZ, 1, samples, with_peaks=True) as [writer]:
        for begin in range(0, samples, audio.BLOCK_SAMPLES):
            on_share(begin / samples)
            block = np.zeros((1, min(audio.BLOCK_SAMPLES, samples - begin)), np.float32)
            # A click may have begun in the block before.
            first, last = np.searchsorted(
                starts, (begin - len(tones[True]), begin + block.shape[1])
            )
            for number in range(first, last):
                _add(block[0], tones[clicks.is_downbeat[number]], int(starts[number]) - begin)
            writer.write(block)
        return writer.peak


def _add(block: Samples, tone: Samples, place: int) -> None:
    """Add a tone that begins at a place of the block, or before it."""
    start, end = max(0, place), min(len(block), place + len(tone))
    if start < end:
        block[start:end] += tone[start - place : end - place]


def _tone(hz: float) -> Samples:
    times_s = np.arange(round(LENGTH_S * RATE_HZ)) / RATE_HZ
    envelope = np.minimum(1, times_s / ATTACK_S) * np.exp(-times_s / DECAY_S)
    tone: Samples = (LEVEL * np.sin(2 * np.pi * hz * times_s) * envelope).astype(np.float32)
    return tone
