"""Moves sung words to the onsets of the voice.

The attention of a model tells which word is sung better than when it begins: after a rest, or in a
long note, its times are often a note off. The onsets of a voice without accompaniment are exact,
but do not tell the words apart. The best path through both has each word near its time, in order,
and on a strong onset. After a rest, singers rather begin a line than go on with one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, dropwhile

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from studio.transcription.alignment.lyrics import Line, all_words
from studio.transcription.engine import RATE_HZ, Speech, TimedText
from studio.transcription.interruption import may_go_on

FRAME_SAMPLES = RATE_HZ // 200
FRAME_S = FRAME_SAMPLES / RATE_HZ
SMOOTH_FRAMES = 3
# Sound this far below the loudest is silence.
FLOOR_DB = 45.0
# This far below the loudest, a voice rests.
REST_DB = 30.0
# Rise of an onset, from the lowest level in the frames before it to the highest after it.
MIN_RISE_DB, MAX_RISE_DB = 4.0, 30.0
BEFORE_FRAMES, AFTER_FRAMES, APART_FRAMES = 40, 24, 33
# Cost of moving a word by a second, doubtful or sure. Beyond FAR_S, all times are equally wrong.
COST_OF_DOUBTFUL, COST_OF_SURE = 0.5, 1.0
FAR_S = 1.0
# What the strongest onset is worth, and what it costs to begin without one.
STRONGEST, NO_ONSET = 2.0, 0.25
# Bonus of an onset after a rest of REST_FRAMES for the first word of a line.
AFTER_REST, REST_FRAMES = 1.0, 100
# Words that begin together.
CROWDED = 4.0
# How far words are moved at most.
REACH_S = 10.0
SHORTEST_S, LETTER_S = 0.12, 0.04

Levels = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
# In place of the index of a time.
NOT_SUNG = -1


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
        floor = np.percentile(levels, 95) - FLOOR_DB
        floored: Levels = np.maximum(levels, floor).astype(np.float32)
        return floored


def is_voiced(levels: Levels) -> Flags:
    """Whether a voice sounds in each frame."""
    voiced: Flags = levels > np.percentile(levels, 95) - REST_DB
    return voiced


def on_onsets(
    words: Sequence[TimedText | None],
    doubtful: Mapping[int, TimedText],
    lines: Sequence[Line],
    levels: Levels,
) -> list[TimedText | None]:
    """Words without accompaniment, None where one is not sung, with their starts on onsets.

    Words that are `doubtful` are sung if there is an onset for them.
    """
    texts, begins = all_words(lines), _begins(lines)
    moved = list(words)
    known = ((place, one or doubtful.get(place)) for place, one in enumerate(words))
    sung = [(place, one) for place, one in known if one]
    sung = list(dropwhile(lambda item: item[0] in doubtful, sung))
    if not sung:
        return moved
    placed = _Sung(
        np.maximum.accumulate([one.start_s for _, one in sung]),
        np.array([COST_OF_DOUBTFUL + COST_OF_SURE * one.probability for _, one in sung]),
        np.array([max(SHORTEST_S, LETTER_S * len(texts[place].strip())) for place, _ in sung]),
        np.array([place in begins for place, _ in sung]),
        np.array([place in doubtful for place, _ in sung]),
    )
    found_s = _best_starts(placed, _onsets(levels))
    end_s = np.inf
    for (place, one), start_s in zip(reversed(sung), reversed(found_s), strict=True):
        if np.isnan(start_s):
            continue
        # A word that begins after its old end lasts until the next one.
        length_s = one.end_s - one.start_s
        old_end_s = one.end_s if one.end_s > start_s else start_s + length_s
        moved[place] = replace(one, start_s=float(start_s), end_s=float(min(old_end_s, end_s)))
        end_s = start_s
    return moved


def _begins(lines: Sequence[Line]) -> set[int]:
    """The first words of lines."""
    return {0, *accumulate(len(line.words) for line in lines)}


@dataclass(frozen=True)
class _Sung:
    """Arrays with an item for each word; `costs` are those of moving it by a second."""

    starts_s: Times
    costs: Times
    shortest_s: Times
    begin_lines: Flags
    are_doubtful: Flags


@dataclass(frozen=True)
class _Onsets:
    """Arrays with an item for each onset; strengths are from 0 to 1."""

    times_s: Times
    strengths: Times
    follow_rests: Flags


def _onsets(levels: Levels) -> _Onsets:
    before = minimum_filter1d(levels, BEFORE_FRAMES, origin=BEFORE_FRAMES // 2 - 1)
    after = maximum_filter1d(levels, AFTER_FRAMES, origin=-(AFTER_FRAMES // 2))
    rises = after - np.maximum(before, levels)
    steepest = (rises >= MIN_RISE_DB) & (rises == maximum_filter1d(rises, APART_FRAMES))
    # The last of adjacent frames.
    places = np.flatnonzero(steepest & ~np.append(steepest[1:], False))
    strengths = np.minimum(rises[places], MAX_RISE_DB) / MAX_RISE_DB
    voiced = maximum_filter1d(is_voiced(levels), REST_FRAMES, origin=REST_FRAMES // 2 - 1)
    # Smoothed levels rise a little before an onset.
    follow_rests = ~voiced[np.maximum(places - SMOOTH_FRAMES, 0)]
    return _Onsets(
        (places * FRAME_S).astype(np.float64), strengths.astype(np.float64), follow_rests
    )


def _candidates(starts_s: Times, onsets: _Onsets) -> tuple[Times, Times, Times]:
    """When words may begin, in order, and what that is worth in a line, and to its first word.

    Many words may have the same start, which is one candidate.
    """
    times_s = np.concatenate([onsets.times_s, starts_s])
    worth = np.concatenate([STRONGEST * onsets.strengths, np.full(len(starts_s), -NO_ONSET)])
    after_rest = np.concatenate([AFTER_REST * onsets.follow_rests, np.zeros(len(starts_s))])
    order = np.argsort(times_s, kind="stable")
    unique_s, places = np.unique(times_s[order], return_index=True)
    return (
        unique_s,
        np.maximum.reduceat(worth[order], places),
        np.maximum.reduceat((worth + after_rest)[order], places),
    )


def _best_starts(words: _Sung, onsets: _Onsets) -> Times:
    """For each word, the time of an onset or its own, on the path of the least cost.

    It is NaN for doubtful words that are cheaper left out.
    """
    starts_s = words.starts_s
    times_s, worth_in_line, worth_of_line = _candidates(starts_s, onsets)
    firsts = np.searchsorted(times_s, starts_s - REACH_S)
    lasts = np.searchsorted(times_s, starts_s + REACH_S, "right")
    total = np.zeros(0)
    steps: list[npt.NDArray[np.int32]] = []
    for number, last in enumerate(lasts):
        may_go_on()
        if words.are_doubtful[number]:
            firsts[number] = firsts[number - 1]
        first = firsts[number]
        here_s = times_s[first:last]
        own = words.costs[number] * np.minimum(np.abs(here_s - starts_s[number]), FAR_S)
        own -= (worth_of_line if words.begin_lines[number] else worth_in_line)[first:last]
        if number:
            offset = firsts[number - 1]
            ready = np.searchsorted(times_s, here_s - words.shortest_s[number - 1], "right")
            before, step = _before(total, ready - offset, np.arange(first, last) - offset)
            own, step = own + before, step + offset
            if words.are_doubtful[number]:
                # Left out, it leaves the word before where it is.
                total = np.pad(total, (0, len(own) - len(total)), constant_values=np.inf)
                step = np.where(total < own, NOT_SUNG, step)
                own = np.minimum(total, own)
            # One row for each word: half the memory counts.
            steps.append(step.astype(np.int32))
        total = own
    found_s = np.full(len(starts_s), np.nan)
    place = int(np.argmin(total)) + int(firsts[-1])
    for number in range(len(steps), 0, -1):
        place_before = int(steps[number - 1][place - firsts[number]])
        if place_before != NOT_SUNG:
            found_s[number], place = times_s[place], place_before
    found_s[0] = times_s[place]
    return found_s


def _before(total: Times, ready: Indices, same: Indices) -> tuple[Times, Indices]:
    """The least cost of all words before one, for each of its times, and the time of the last.

    The last word begins at one of the first `ready` times, or together with this one at `same`.
    """
    least = np.minimum.accumulate(total)
    where = np.maximum.accumulate(np.where(total <= least, np.arange(len(total)), 0))
    upto = np.minimum(ready, len(total)) - 1
    separate = np.where(upto >= 0, least[np.maximum(upto, 0)], np.inf)
    step = where[np.maximum(upto, 0)]
    inside = (same >= 0) & (same < len(total))
    at = np.clip(same, 0, len(total) - 1)
    crowded = np.where(inside, total[at] + CROWDED, np.inf)
    return np.minimum(separate, crowded), np.where(crowded < separate, at, step)
