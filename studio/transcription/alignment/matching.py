"""Finds the words of lyrics among the words that a model heard.

The best monotone assignment (Needleman and Wunsch 1970) over all words: words that only one of the
two has cost little, so that repetitions, ad-libs and left-out lines do not derail the rest. Time in
which the voice was not understood counts as unknown words, so that what was heard is not matched
with words of which there are too many, or too few, in the time before.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat

import numpy as np
import numpy.typing as npt

from studio.transcription.alignment.lyrics import match_units
from studio.transcription.alignment.voice_time import VoiceTime
from studio.transcription.interruption import may_go_on
from studio.transcription.line_breaks import without_spaces
from studio.transcription.transcript import Segment

EQUAL = 2.0
# For two words of which one stands for the other, from nothing alike to almost equal.
DIFFERENT, ALIKE = -0.6, 1.0
LEFT_OUT = -0.8
# For a word while nothing was understood, one in UNKNOWN_S.
UNKNOWN, UNKNOWN_S = -0.1, 0.5
# Rows of the table that are kept at the same time.
BLOCK_ROWS = 64

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
_BOTH, _FIRST_ONLY, _SECOND_ONLY = 0, 1, 2


@dataclass(frozen=True)
class Heard:
    """A word, or a character in scripts without spaces, that a model heard."""

    text: str
    key: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Pair:
    """A word of the lyrics and the words that were heard in its place, `first` to `last`.

    The index of a word heard is -1 if nothing was. `is_equal` if it is the same word.
    """

    first: int = -1
    last: int = -1
    is_equal: bool = False


def heard_words(segments: Sequence[Segment]) -> list[Heard]:
    """The words of a transcript in order; those without letters are left out."""
    heard: list[Heard] = []
    for segment in segments:
        for word in segment.words:
            key = match_units(word.text)
            if not key:
                continue
            if not without_spaces(key):
                heard.append(Heard(word.text, key, word.start_s, word.end_s))
                continue
            each_s = (word.end_s - word.start_s) / len(key)
            heard += [
                Heard(letter, letter, word.start_s + n * each_s, word.start_s + (n + 1) * each_s)
                for n, letter in enumerate(key)
            ]
    return heard


def matched(words: Sequence[str], heard: Sequence[Heard], voice: VoiceTime) -> list[Pair]:
    """For each word of the lyrics, what was heard in its place."""
    # Scripts without spaces are compared by characters, since words are split differently.
    units = [list(key) if without_spaces(key) else [key] for key in map(match_units, words)]
    flat = [unit for parts in units for unit in parts]
    indices = [*_with_unknown(heard, voice), -1]
    places = _assigned(flat, [heard[index].key if index >= 0 else "" for index in indices[:-1]])
    counterparts = [(indices[place], is_equal) for place, is_equal in places]
    ends = list(accumulate(map(len, units)))
    return [
        _pair([counterparts[place] for place in range(end - len(parts), end)])
        for parts, end in zip(units, ends, strict=True)
    ]


def _with_unknown(heard: Sequence[Heard], voice: VoiceTime) -> Iterator[int]:
    """The indices of what was heard, and -1 for each unknown word between them."""
    at_s = 0.0
    for index, one in enumerate(heard):
        yield from repeat(-1, int(voice.voice_s(at_s, one.start_s) / UNKNOWN_S))
        yield index
        at_s = max(at_s, one.end_s)
    yield from repeat(-1, int(voice.voice_s(at_s, voice.duration_s) / UNKNOWN_S))


def _pair(counterparts: Sequence[tuple[int, bool]]) -> Pair:
    """The pair of a word from those of its units."""
    equal = [index for index, is_equal in counterparts if is_equal]
    if 2 * len(equal) > len(counterparts):
        return Pair(min(equal), max(equal), is_equal=True)
    some = [index for index, _ in counterparts if index >= 0]
    return Pair(min(some), max(some)) if some else Pair()


def _assigned(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, bool]]:
    """For each item of `first`, the index of its counterpart or -1, and whether they are equal."""
    table = _Table(first, second)
    counterparts = [(-1, False)] * len(first)
    row, column = len(first), len(second)
    while row > 0 and column > 0:
        step = table.step(row, column)
        if step == _BOTH:
            row, column = row - 1, column - 1
            counterparts[row] = column, first[row] == second[column]
        elif step == _FIRST_ONLY:
            row -= 1
        else:
            column -= 1
    return counterparts


class _Table:
    """The steps of the best path through all pairs.

    Only the scores of every BLOCK_ROWS-th row are kept; the steps between two of them are computed
    again when the path arrives there.
    """

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first = first
        self._similar = _Similarity(first, second)
        # Unknown words may be left out.
        gaps = [LEFT_OUT if word else 0.0 for word in second]
        self._gaps = np.concatenate([[0.0], np.cumsum(gaps)]).astype(np.float32)
        self._kept: list[Floats] = []
        self._block = -1
        self._steps: list[Bytes] = []
        scores = self._gaps
        for row in range(len(first)):
            if row % BLOCK_ROWS == 0:
                self._kept.append(scores)
                may_go_on()
            scores, _ = self._next(scores, row)

    def step(self, row: int, column: int) -> int:
        """The last step of the best path to `row` items of the first and `column` of the second."""
        block = (row - 1) // BLOCK_ROWS
        if block != self._block:
            may_go_on()
            self._block, self._steps = block, []
            scores = self._kept[block]
            begin = block * BLOCK_ROWS
            for item in range(begin, min(begin + BLOCK_ROWS, len(self._first))):
                scores, steps = self._next(scores, item)
                self._steps.append(steps)
        return int(self._steps[(row - 1) % BLOCK_ROWS][column])

    def _next(self, before: Floats, row: int) -> tuple[Floats, Bytes]:
        """The scores after one more item of the first, and the steps to them."""
        scores = before + np.float32(LEFT_OUT)
        steps = np.full(len(scores), _FIRST_ONLY, np.int8)
        both = before[:-1] + self._similar.row(row)
        better = both >= scores[1:]
        scores[1:][better] = both[better]
        steps[1:][better] = _BOTH
        # Any number of items of the second may be left out.
        reached = np.maximum.accumulate(scores - self._gaps) + self._gaps
        steps[reached > scores + np.float32(1e-4)] = _SECOND_ONLY
        return reached, steps


class _Similarity:
    """How well each item of the first stands for each of the second."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first_ids, first_words = _numbered(first)
        self._second_ids, second_words = _numbered(second)
        self._second_places = {word: place for place, word in enumerate(second_words)}
        self._first_words = first_words
        self._grams = _grams(second_words)
        self._columns = len(second_words)
        self._rows: dict[int, Floats] = {}

    def row(self, row: int) -> Floats:
        """The similarity of an item to all of the second."""
        number = int(self._first_ids[row])
        if number not in self._rows:
            self._rows[number] = self._to_all(self._first_words[number])
        similarities: Floats = self._rows[number][self._second_ids]
        return similarities

    def _to_all(self, word: str) -> Floats:
        """The similarity of a word to every different word of the second: shared pairs of letters
        (Dice 1945)."""
        shared = np.zeros(self._columns, np.float32)
        own = list(_pairs(word))
        for gram in own:
            for place in self._grams.get(gram, ()):
                shared[place] += 1
        sizes = np.array([len(one) + 1 for one in self._second_places], np.float32)
        alike = 2 * shared / (sizes + len(own))
        scores = (DIFFERENT + (ALIKE - DIFFERENT) * alike).astype(np.float32)
        if word in self._second_places:
            scores[self._second_places[word]] = EQUAL
        if "" in self._second_places:
            scores[self._second_places[""]] = UNKNOWN
        return scores


def _numbered(items: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The number of each item, and the different items in that order."""
    numbers: dict[str, int] = {}
    ids = [numbers.setdefault(item, len(numbers)) for item in items]
    return np.array(ids, np.int64), list(numbers)


def _grams(words: Sequence[str]) -> dict[str, list[int]]:
    """The words that have each pair of letters."""
    by_gram: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        for gram in Counter(_pairs(word)):
            by_gram.setdefault(gram, []).append(place)
    return by_gram


def _pairs(word: str) -> Iterator[str]:
    """The pairs of adjacent letters, with the beginning and the end of the word."""
    padded = f" {word} "
    return (padded[place : place + 2] for place in range(len(padded) - 1))
