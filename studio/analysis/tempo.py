"""Tempo over time: the autocorrelation of the onset strength, and a smooth path through it.

A tempo is likely if the onsets repeat after one to eight beats (a comb, as in Scheirer, "Tempo and
beat analysis of acoustic musical signals", 1998), and if people tap it: a log-normal preference, as
in Ellis (2007). The path is found with Viterbi's algorithm.
"""

from dataclasses import dataclass

import numpy as np

from studio.analysis.frames import Floats
from studio.analysis.onsets import FPS, smoothed
from studio.jobs.job import Report

SLOWEST_BPM, FASTEST_BPM = 50.0, 230.0
WINDOW_S, HOP_S = 14.0, 4.0
TEETH = 8
# The weight of onsets halfway between beats.
OFF_BEAT = 0.2
PREFERRED_BPM, PREFERENCE_OCTAVES = 130.0, 0.8
# A tempo that the caller gives leaves little choice.
GIVEN_OCTAVES = 0.1
GIVEN_MARGIN = 1.15
# How much the score of a window counts against changes of the tempo, which cost `CHANGE` for each
# factor of e, and no more than `LEAP`.
SCALE, CHANGE, LEAP = 6.0, 40.0, 8.0


@dataclass(frozen=True)
class TempoPath:
    """The length of a beat, in frames, at the given frames; `regularity` is 0 to 1."""

    frames: Floats
    periods: Floats
    regularity: float

    def at_each_frame(self, frames: int) -> Floats:
        periods: Floats = np.interp(np.arange(frames), self.frames, self.periods)
        return periods


def preference(bpm: Floats, given_bpm: float | None = None) -> Floats:
    """The logarithm of how readily a tempo is tapped, 0 at most."""
    centre, width = PREFERRED_BPM, PREFERENCE_OCTAVES
    if given_bpm is not None:
        centre, width = given_bpm, GIVEN_OCTAVES
    log_preference: Floats = -0.5 * (np.log2(bpm / centre) / width) ** 2
    return log_preference


def tempo_path(strength: Floats, given_bpm: float | None, report: Report) -> TempoPath:
    """The tempo of an onset strength (frames,)."""
    strength = smoothed(strength, 1.0)
    grid_bpm = _grid_bpm(given_bpm)
    window, hop = round(WINDOW_S * FPS), round(HOP_S * FPS)
    starts = range(0, max(1, len(strength) - window // 2), hop)
    combs = []
    for number, start in enumerate(starts):
        report("finding the tempo", number / len(starts))
        combs.append(_comb(strength[start : start + window], FPS * 60 / grid_bpm))
    scores = np.maximum(combs, 0)
    regularity = float(np.median(scores.max(axis=1)))
    scores = scores * np.exp(preference(grid_bpm, given_bpm))
    scores *= SCALE / np.maximum(scores.max(axis=1, keepdims=True), 1e-9)
    tempo = np.log(grid_bpm)
    path = _viterbi(scores, -np.minimum(CHANGE * np.abs(tempo[:, None] - tempo), LEAP))
    lengths = [min(window, len(strength) - start) for start in starts]
    centres = np.array(starts) + np.array(lengths) / 2
    return TempoPath(centres, FPS * 60 / grid_bpm[path], regularity)


def _grid_bpm(given_bpm: float | None) -> Floats:
    """The tempos to try; they include the one that the caller gives."""
    slowest, fastest = SLOWEST_BPM, FASTEST_BPM
    if given_bpm is not None:
        slowest = min(slowest, given_bpm / GIVEN_MARGIN)
        fastest = max(fastest, given_bpm * GIVEN_MARGIN)
    grid_bpm: Floats = np.exp(np.arange(np.log(slowest), np.log(fastest), 0.01))
    return grid_bpm


def _comb(strength: Floats, periods: Floats) -> Floats:
    """How much an onset strength repeats after each period, in frames."""
    from scipy.fft import irfft, rfft

    count = len(strength)
    centred = strength - strength.mean()
    longest = round(float(periods.max()) * TEETH)
    spectrum = np.abs(rfft(centred, 2 * max(count, longest))) ** 2
    repeats = irfft(spectrum)[:longest]
    repeats = repeats / max(float(repeats[0]), 1e-9)
    # Fewer pairs of frames are far apart.
    repeats = repeats / np.linspace(1, max(0.3, 1 - longest / count), longest)
    lags = np.arange(longest)
    teeth = [np.interp(periods * tooth, lags, repeats) for tooth in range(1, TEETH + 1)]
    inside = [periods * tooth < longest - 1 for tooth in range(1, TEETH + 1)]
    comb = np.where(inside, teeth, 0).sum(axis=0) / np.sum(inside, axis=0)
    strengths: Floats = comb + OFF_BEAT * np.maximum(np.interp(periods / 2, lags, repeats), 0)
    return strengths


def _viterbi(scores: Floats, changes: Floats) -> Floats:
    """The best state of each window: `scores` (windows, states), `changes` (states, states)."""
    best, back = scores[0], []
    for row in scores[1:]:
        reached = best[None] + changes
        back.append(reached.argmax(axis=1))
        best = reached.max(axis=1) + row
    path = [int(best.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])
