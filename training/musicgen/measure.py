"""Hears tempo class, drums and register in a sound, by signal processing alone.

It knows nothing of the model. Two thresholds are set on rendered training pieces (`calibrate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.signal import stft

_WINDOW = 2048
_HOP_S = 0.01
_BEATS_S = (0.30, 1.25)
# Between the beats of the tempo classes, 0.38, 0.6 and 1.0 s.
_TEMPO_BORDERS_S = (0.48, 0.77)
# Between the highest note of a register and the lowest of the next one.
_REGISTER_BORDERS_HZ = (180.0, 720.0)
_NOISE_HZ = (6000.0, 14000.0)
_LOWEST_HZ = 50.0
_PERIODIC = 0.2
_FIRST_PEAK = 0.6
_STEADY_FRAMES = 15

Floats = npt.NDArray[np.float64]


class Heard(NamedTuple):
    """What was heard; `tempo` is None where there is no beat."""

    tempo: str | None
    drums: bool
    register: str


@dataclass(frozen=True)
class Thresholds:
    """What is set on training pieces, both in dB.

    `noise_db`: noise in the treble above this, relative to all sound, is drums.
    `partial_db`: a partial above this, relative to the strongest one, belongs to a note.
    """

    noise_db: float
    partial_db: float


class Features(NamedTuple):
    """What the decisions rest on; `strength_db` are the steady partials over `frequencies_hz`."""

    beat_s: float | None
    noise_db: float
    frequencies_hz: Floats
    strength_db: Floats


def analyse(audio: npt.NDArray[Any], rate_hz: int) -> Features:
    """The features of a mono sound of at least 2 s, float of shape (samples,)."""
    hop = round(_HOP_S * rate_hz)
    frequencies, _, spectrum = stft(
        audio.astype(np.float64), rate_hz, nperseg=_WINDOW, noverlap=_WINDOW - hop, padded=False
    )
    power = np.abs(spectrum) ** 2 + 1e-14
    lowest, highest = np.searchsorted(frequencies, (_LOWEST_HZ, 2500.0))
    steady = median_filter(power[lowest:highest], (1, _STEADY_FRAMES)).mean(1)
    return Features(
        _beat_s(frequencies, power),
        _noise_db(frequencies, power),
        frequencies[lowest:highest],
        10 * np.log10(steady / steady.max()),
    )


def _beat_s(frequencies: Floats, power: Floats) -> float | None:
    """The time between onsets: the first high peak of the autocorrelation of their strength."""
    edges = np.searchsorted(frequencies, np.geomspace(60.0, 14000.0, 25))
    bands = np.stack([power[a : max(b, a + 1)].sum(0) for a, b in pairwise(edges)])
    loudness = np.log(bands + 1e-5 * bands.max())
    rise = np.maximum(0.0, loudness[:, 2:] - loudness[:, :-2]).sum(0)
    rise -= rise.mean()
    whole = np.correlate(rise, rise, "full")[len(rise) - 1 :]
    if whole[0] <= 0:
        return None
    first, last = (round(limit / _HOP_S) for limit in _BEATS_S)
    last = min(last, len(rise) - 20)
    lags = np.arange(first, last + 1)
    similar = whole[lags] / whole[0] * len(rise) / (len(rise) - lags)
    highest = similar.max()
    if highest < _PERIODIC:
        return None
    for place, value in enumerate(similar):
        around = similar[max(0, place - 4) : place + 5]
        if value >= _FIRST_PEAK * highest and value == around.max():
            return float(lags[place] * _HOP_S)
    return None


def _noise_db(frequencies: Floats, power: Floats) -> float:
    """The level of noise in the treble where that is loudest, relative to all sound.

    The mean of decibels over the frequencies: lines of a tone raise it little, noise much.
    """
    treble = power[slice(*np.searchsorted(frequencies, _NOISE_HZ))]
    level_db = 10 * np.log10(treble).mean(0)
    return float(np.percentile(level_db, 95) - 10 * np.log10(power.sum(0).mean()))


def decide(features: Features, thresholds: Thresholds) -> Heard:
    """What the features mean."""
    tempo = None
    if features.beat_s is not None:
        names = ("fast", "medium", "slow")
        tempo = names[int(np.searchsorted(_TEMPO_BORDERS_S, features.beat_s))]
    lowest_hz = features.frequencies_hz[np.argmax(features.strength_db > thresholds.partial_db)]
    registers = ("low", "middle", "high")
    register = registers[int(np.searchsorted(_REGISTER_BORDERS_HZ, lowest_hz))]
    return Heard(tempo, features.noise_db > thresholds.noise_db, register)


def calibrate(pieces: Sequence[tuple[Features, bool, str]]) -> Thresholds:
    """The thresholds that are right most often, for pieces with (or without) drums in a register.

    Where several are equally good, the one in the middle of them.
    """

    def best(candidates: Floats, rights: list[int]) -> float:
        return float(np.median(candidates[np.array(rights) == max(rights)]))

    noises_db = np.arange(-80.0, -20.0, 0.5)
    partials_db = np.arange(-40.0, -3.0, 0.5)
    noise_db = best(
        noises_db,
        [sum((f.noise_db > limit) == drums for f, drums, _ in pieces) for limit in noises_db],
    )
    partial_db = best(
        partials_db,
        [
            sum(decide(f, Thresholds(0.0, limit)).register == name for f, _, name in pieces)
            for limit in partials_db
        ],
    )
    return Thresholds(noise_db, partial_db)
