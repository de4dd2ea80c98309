"""Bars: which beats are downbeats, and whether the beats are rather the off-beats.

Each beat and off-beat gets features of its onsets and of how the harmony changes there. A
classifier estimates how likely each is a downbeat, another beat or an off-beat, and the best
periodic assignment is found with Viterbi's algorithm.
"""

from dataclasses import dataclass

import numpy as np

from studio.analysis import harmony
from studio.analysis.frames import Floats, Samples
from studio.analysis.harmony import Chroma
from studio.analysis.model import AnalysisModel
from studio.analysis.onsets import FPS, Onsets, at
from studio.analysis.viterbi import best_path

DOWNBEAT, BEAT, OFF_BEAT, THIRD_OF_FOUR = range(4)
METRES = (3, 4)
# A beat that is missing or doubled costs this much likelihood.
JUMP = 60.0
# Onsets up to this far from a beat belong to it, in seconds and in distances of two moments.
REACH_S, REACH = 0.05, 0.25
# Gaps between beats that deviate by more than this share do not count for the tempo.
UNUSUAL = 0.2
# Moments over which the harmony before and after is compared.
SPANS = (2, 4)


@dataclass(frozen=True)
class Bars:
    """The times of beats, and their places in the bar (1: downbeat).

    `score` is how much likelier the features are with these bars, for each moment.
    """

    times_s: Floats
    places: list[int]
    beats_per_bar: int
    score: float

    @property
    def tempo_bpm(self) -> float:
        """The mean tempo, without gaps between beats that are unusual."""
        gaps_s = np.diff(self.times_s)
        usual_s = np.median(gaps_s)
        return float(60 / gaps_s[np.abs(gaps_s - usual_s) <= UNUSUAL * usual_s].mean())


def features(onsets: Onsets, chroma: Chroma, moments_s: Floats) -> Floats:
    """Features (moments, n) of beats and off-beats in alternation."""
    from scipy.ndimage import maximum_filter1d

    gap_s = float(np.median(np.diff(moments_s)))
    reach = max(1, round(min(REACH_S, gap_s * REACH) * FPS))
    accents = [
        _standard(at(maximum_filter1d(onsets.band(number), 2 * reach + 1), moments_s))
        for number in range(1, onsets.strengths.shape[1])
    ]
    edges_s = np.append(moments_s, moments_s[-1] + gap_s)
    segments = harmony.normalised(harmony.between(chroma, edges_s))
    registers = segments.reshape(len(segments), -1, 12)
    changes = [
        _standard(_change(registers[:, number], span))
        for number in range(registers.shape[1])
        for span in SPANS
    ]
    here = np.array([*accents, *changes]).T
    around = np.pad(here[:, : len(accents)], ((2, 2), (0, 0)))
    count = len(here)
    near = [around[2 + step : 2 + step + count] for step in (-1, 1, -2, 2)]
    return np.concatenate([here, *near], axis=1)


def _change(chroma: Samples, span: int) -> Floats:
    """1 minus the cosine of the chroma (moments, 12) before and after each moment."""
    padded = np.pad(chroma, ((span, span), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros(12), padded]), axis=0)
    count = len(chroma)
    middle = sums[span : span + count]
    before, after = middle - sums[:count], sums[2 * span : 2 * span + count] - middle
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    change: Floats = 1 - (before * after).sum(axis=1) / np.maximum(lengths, 1e-6)
    # Where a song begins, its harmony changes.
    change[0] = max(change[0], change.mean() + change.std())
    return change


def _standard(values: Floats) -> Floats:
    standard: Floats = (values - values.mean()) / (values.std() + 1e-9)
    return standard


def classes_of(beats_per_bar: int) -> list[int]:
    """The classes of the beats and off-beats of a bar."""
    classes = [DOWNBEAT, OFF_BEAT] + [BEAT, OFF_BEAT] * (beats_per_bar - 1)
    if beats_per_bar == 4:
        classes[4] = THIRD_OF_FOUR
    return classes


def find_bars(
    model: AnalysisModel,
    onsets: Onsets,
    chroma: Chroma,
    moments_s: Floats,
    beats_per_bar: int | None,
) -> Bars:
    """The likeliest bars over beats and off-beats in alternation, with the given metre if any."""
    odds = model.metre.log_odds(features(onsets, chroma, moments_s))
    candidates = [_aligned(odds, moments_s, metre) for metre in _metres(beats_per_bar)]
    return max(candidates, key=lambda bars: bars.score)


def _metres(beats_per_bar: int | None) -> tuple[int, ...]:
    return METRES if beats_per_bar is None else (beats_per_bar,)


def _aligned(odds: Floats, moments_s: Floats, metre: int) -> Bars:
    """The best places of moments in bars of one metre."""
    gains = odds[:, classes_of(metre)]
    count, places = gains.shape
    before = (np.arange(places) - 1) % places
    total, path = best_path(gains, before, np.full(count, JUMP))
    is_beat = np.array([place % 2 == 0 for place in path])
    beats = [place // 2 + 1 for place in path if place % 2 == 0]
    return Bars(moments_s[is_beat], beats, metre, total / count)
