"""Moves sung words to the onsets of the voice.

The attention of a model tells which word is sung better than when it begins: after a rest, or in a
long note, its times are often a note off. The onsets of a voice without accompaniment are exact,
but do not tell the words apart. The best path through both has each word near its time, in order,
and on a strong onset.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from studio.transcription.engine import RATE_HZ, Speech, TimedText

FRAME_SAMPLES = RATE_HZ // 200
FRAME_S = FRAME_SAMPLES / RATE_HZ
SMOOTH_FRAMES = 3
# Sound this far below the loudest is silence.
FLOOR_DB = 45.0
# An onset rises by so much, from the least level in the frames before it to the most after it.
MIN_RISE_DB, MAX_RISE_DB = 4.0, 30.0
BEFORE_FRAMES, AFTER_FRAMES, APART_FRAMES = 40, 24, 33
# A second costs so much, more for a word that the model is sure of. Beyond a second, all times are
# equally wrong.
COST_OF_DOUBTFUL, COST_OF_SURE = 0.5, 1.0
FAR_S = 1.0
# What the strongest onset is worth, and what it costs to begin without one.
STRONGEST, NO_ONSET = 2.0, 0.25
# Words that begin together.
CROWDED = 4.0
# How far words are moved at most.
REACH_S = 10.0
SHORTEST_S, LETTER_S = 0.08, 0.03

Levels = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class LevelMeter:
    """Measures the power of a stream of samples in frames of FRAME_SAMPLES."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._powers: list[Levels] = []

    def add(self, speech: Speech) -> None:
        held = np.concatenate([self._rest, speech])
        whole = len(held) // FRAME_SAMPLES * FRAME_SAMPLES
        frames = held[:whole].reshape(-1, FRAME_SAMPLES)
        self._powers.append(np.mean(frames**2, axis=1))
        self._rest = held[whole:]

    def finish(self) -> Levels:
        """The level of each frame in dB."""
        powers = np.concatenate([*self._powers, np.zeros(SMOOTH_FRAMES, np.float32)])
        smooth = np.convolve(powers, np.full(SMOOTH_FRAMES, 1 / SMOOTH_FRAMES), "same")
        levels = 10 * np.log10(np.maximum(smooth, 1e-10))
        found: Levels = np.maximum(levels, np.percentile(levels, 95) - FLOOR_DB).astype(np.float32)
        return found


def on_onsets(
    words: Sequence[TimedText | None], texts: Sequence[str], levels: Levels
) -> list[TimedText | None]:
    """Words without accompaniment, None where one is not sung, with their starts on onsets."""
    moved = list(words)
    sung = [(place, one) for place, one in enumerate(words) if one]
    if not sung:
        return moved
    starts_s = np.maximum.accumulate([one.start_s for _, one in sung])
    costs = np.array([COST_OF_DOUBTFUL + COST_OF_SURE * one.probability for _, one in sung])
    letters = [len(texts[place].strip()) for place, _ in sung]
    shortest_s = np.maximum(SHORTEST_S, LETTER_S * np.array(letters))
    found_s = _best_starts(starts_s, costs, shortest_s, *_onsets(levels))
    ends_s = [*found_s[1:], np.inf]
    for (place, one), start_s, end_s in zip(sung, found_s, ends_s, strict=True):
        # A word that begins after its old end lasts until the next one.
        length_s = one.end_s - one.start_s
        old_end_s = one.end_s if one.end_s > start_s else start_s + length_s
        moved[place] = replace(one, start_s=float(start_s), end_s=float(min(old_end_s, end_s)))
    return moved


def _onsets(levels: Levels) -> tuple[Times, Times]:
    """The times of onsets, and their strengths from 0 to 1."""
    before = minimum_filter1d(levels, BEFORE_FRAMES, origin=BEFORE_FRAMES // 2 - 1)
    after = maximum_filter1d(levels, AFTER_FRAMES, origin=-(AFTER_FRAMES // 2))
    rises = after - np.maximum(before, levels)
    places = np.flatnonzero(
        (rises >= MIN_RISE_DB) & (rises == maximum_filter1d(rises, APART_FRAMES))
    )
    strengths = np.minimum(rises[places], MAX_RISE_DB) / MAX_RISE_DB
    return (places * FRAME_S).astype(np.float64), strengths.astype(np.float64)


def _best_starts(
    starts_s: Times, costs: Times, shortest_s: Times, onsets_s: Times, strengths: Times
) -> Times:
    """For each word, the time of an onset or its own, on the path of the least cost.

    `costs` are those of moving a word by a second.
    """
    times_s = np.concatenate([onsets_s, starts_s])
    order = np.argsort(times_s, kind="stable")
    times_s = times_s[order]
    worth = np.concatenate([STRONGEST * strengths, np.full(len(starts_s), -NO_ONSET)])[order]
    firsts = np.searchsorted(times_s, starts_s - REACH_S)
    lasts = np.searchsorted(times_s, starts_s + REACH_S, "right")
    total = np.zeros(0)
    steps: list[Indices] = []
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        here_s = times_s[first:last]
        own = costs[number] * np.minimum(np.abs(here_s - starts_s[number]), FAR_S)
        own -= worth[first:last]
        if number:
            ready_s = here_s - shortest_s[number - 1]
            ready = np.searchsorted(times_s, ready_s, "right") - firsts[number - 1]
            same = np.arange(first, last) - firsts[number - 1]
            before, step = _before(total, ready, same)
            own += before
            steps.append(step + firsts[number - 1])
        total = own
    place = int(np.argmin(total)) + int(firsts[-1])
    path = [place]
    for number in range(len(steps) - 1, -1, -1):
        place = int(steps[number][place - firsts[number + 1]])
        path.append(place)
    return times_s[path[::-1]]


def _before(total: Times, ready: Indices, same: Indices) -> tuple[Times, Indices]:
    """The least cost of all words before one, for each of its times, and the time of the last.

    The last word begins at one of the first `ready` times, or together with this one at `same`.
    """
    least = np.minimum.accumulate(total)
    where = np.maximum.accumulate(np.where(total <= least, np.arange(len(total)), 0))
    upto = np.minimum(ready, len(total)) - 1
    found = np.where(upto >= 0, least[np.maximum(upto, 0)], np.inf)
    step = where[np.maximum(upto, 0)]
    inside = (same >= 0) & (same < len(total))
    at = np.clip(same, 0, len(total) - 1)
    crowded = np.where(inside, total[at] + CROWDED, np.inf)
    return np.minimum(found, crowded), np.where(crowded < found, at, step)
