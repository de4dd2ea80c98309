"""Plans which lyrics are aligned with which part of a recording, in passes of at most 30 s."""

import string
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from studio.transcription.alignment.lyrics import Line, all_words
from studio.transcription.alignment.matching import Heard, Pair
from studio.transcription.alignment.voice_time import VoiceTime

PASS_S = 27.0
# Sound before the first word and after the last one.
LEAD_S, TAIL_S = 0.5, 0.6
# A pause of this length ends a pass: what is in it would be given to the words around it.
PAUSE_S = 6.0
# Greatest length of a word of which nothing was heard.
UNHEARD_S = 1.2
# Words before a pass that are aligned again, so that its first word has a beginning.
CONTEXT_WORDS, CONTEXT_S = 8, 5.0
# From this many words on that the lyrics do not have, they are ad-libs.
AD_LIB_WORDS = 3
# A letter takes at least this long.
LETTER_S = 0.05
# Ends a line in the text that is aligned, as it does in the texts that models learn from.
STOP = "."


@dataclass(frozen=True)
class Text:
    """A text to align: a word of the lyrics by its index, or one that is only in the way (-1)."""

    text: str
    word: int = -1


@dataclass(frozen=True)
class Pass:
    """The texts that are said from `start_s` to `end_s`, and the words to take from them.

    `heard_s` is when the model heard the first word, if nothing is aligned before it.
    """

    start_s: float
    end_s: float
    texts: list[Text]
    first: int
    last: int
    heard_s: float | None

    def without(self, words: Collection[int]) -> "Pass":
        """The same part of the recording without some of the words."""
        return replace(self, texts=[text for text in self.texts if text.word not in words])


class Plan:
    """The passes over a recording, each planned after the one before it."""

    def __init__(
        self,
        lines: Sequence[Line],
        pairs: Sequence[Pair],
        heard: Sequence[Heard],
        voice: VoiceTime,
    ) -> None:
        self._words = all_words(lines)
        self._line_ends = _ends(lines)
        self._heard = heard
        self._pairs = pairs
        self._voice = voice
        self._starts_s, self._ends_s = self._rough_times()

    def _rough_times(self) -> tuple[list[float], list[float]]:
        """When each word roughly begins and ends, by what was heard."""
        starts: list[float] = []
        ends: list[float] = []
        at_s = 0.0
        for was_heard, run in groupby(self._pairs, lambda pair: pair.first >= 0):
            pairs = list(run)
            if was_heard:
                for pair in pairs:
                    starts.append(max(at_s, self._heard[pair.first].start_s))
                    ends.append(at_s := max(starts[-1], self._heard[pair.last].end_s))
            else:
                limits_s = self._spread(at_s, len(starts), len(pairs))
                starts += limits_s[:-1]
                ends += limits_s[1:]
        return starts, ends

    def _spread(self, from_s: float, first: int, count: int) -> list[float]:
        """The limits of adjacent words of which nothing was heard; the one after them was."""
        to_s = self._voice.duration_s
        if first + count < len(self._pairs):
            to_s = self._heard[self._pairs[first + count].first].start_s
        to_s = max(from_s, to_s)
        each_s = min(UNHEARD_S, self._voice.voice_s(from_s, to_s) / count)
        return [
            min(to_s, self._voice.after(from_s, number * each_s)) for number in range(count + 1)
        ]

    def next(self, first: int, begun_s: Sequence[float]) -> Pass:
        """The pass that begins with word `first`; `begun_s` has the starts of those before it."""
        start_s = max(0.0, self._starts_s[first] - LEAD_S)
        if first and self._ends_s[first - 1] > start_s:
            start_s = self._ends_s[first - 1]
        context = first
        while (
            context > 0
            and first - context < CONTEXT_WORDS
            and start_s - begun_s[context - 1] < CONTEXT_S
            and begun_s[context - 1] < self._starts_s[first]
        ):
            context -= 1
        if context < first:
            start_s = max(0.0, begun_s[context] - 0.1)
        last = self._last(first, start_s)
        end_s = self._ends_s[last] + TAIL_S
        if last + 1 < len(self._words):
            end_s = min(end_s, max(self._starts_s[last + 1], self._ends_s[last]))
        end_s = min(end_s, self._voice.duration_s, start_s + 29.9)
        is_known = context == first and self._pairs[first].is_equal
        heard_s = self._starts_s[first] if is_known else None
        texts = list(self._texts(context, last, start_s))
        return Pass(start_s, end_s, texts, first, last, heard_s)

    def is_too_short(self, places: Sequence[int]) -> bool:
        """Whether adjacent words have too little room between the words heard around them."""
        before = range(places[0] - 1, -1, -1)
        after = range(places[-1] + 1, len(self._words))
        from_s = next((self._ends_s[n] for n in before if self._pairs[n].first >= 0), 0.0)
        to_s = next(
            (self._starts_s[n] for n in after if self._pairs[n].first >= 0), self._voice.duration_s
        )
        letters = sum(len(self._words[place].strip()) for place in places)
        return to_s - from_s < LETTER_S * letters

    def lines_of(self, part: Pass) -> Iterator[range]:
        """The words of each line in a pass."""
        begin = part.first
        for place in range(part.first, part.last + 1):
            if place in self._line_ends or place == part.last:
                yield range(begin, place + 1)
                begin = place + 1

    def _last(self, first: int, start_s: float) -> int:
        """The last word of a pass: the last of a line, if the pass does not become too short."""
        last = first
        line_end = -1
        while last + 1 < len(self._words):
            if last in self._line_ends:
                line_end = last
            following = last + 1
            if self._ends_s[following] + TAIL_S - start_s > PASS_S:
                break
            if self._starts_s[following] - self._ends_s[last] > PAUSE_S:
                return last
            last = following
        else:
            return last
        is_long = line_end >= first and self._ends_s[line_end] - start_s > PASS_S / 2
        return line_end if is_long else last

    def _texts(self, first: int, last: int, start_s: float) -> Iterator[Text]:
        """The words with what else was heard between them."""
        yield Text(STOP)
        before = self._heard_before(first)
        for place in range(first, last + 1):
            pair = self._pairs[place]
            if pair.first >= 0:
                between = range(before + 1, pair.first)
                extra = [one for one in between if self._heard[one].start_s >= start_s]
                # One or two are rather the parts of a word that was misheard.
                if len(extra) >= AD_LIB_WORDS:
                    yield from (Text(self._heard[one].text) for one in extra)
                before = pair.last
            text = self._as_heard(place)
            yield Text(text, place)
            if place in self._line_ends and text[-1].isalnum():
                yield Text(STOP)

    def _as_heard(self, place: int) -> str:
        """A word in the spelling of the model, which it knows best."""
        pair = self._pairs[place]
        if pair.is_equal and pair.first == pair.last:
            return self._heard[pair.first].text.rstrip(string.punctuation)
        return self._words[place].lower()

    def _heard_before(self, first: int) -> int:
        """The last word heard that belongs to a word before this one."""
        for place in reversed(range(first)):
            if self._pairs[place].last >= 0:
                return self._pairs[place].last
        return -1


def _ends(lines: Sequence[Line]) -> set[int]:
    """The last words of lines."""
    ends, count = set(), 0
    for line in lines:
        count += len(line.words)
        ends.add(count - 1)
    return ends
