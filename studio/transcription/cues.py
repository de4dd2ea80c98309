"""Cuts a transcript into the lines that subtitles show.

The rules are the usual ones of broadcasters: at most two lines of 42 columns, cues of 0.7 s (if
the next one leaves room) to 7 s, in order and never over each other. A Chinese, Japanese or Korean
character is two columns wide. What a reader sees as one character is never cut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from wcwidth import iter_graphemes, wcswidth

from studio.transcription.transcript import Segment, Transcript, Word

LINE_COLUMNS = 42
MAX_LINES = 2
MAX_CUE_S = 7.0
# A pause this long begins a new cue.
PAUSE_S = 1.0
# How long a cue stays at least: in any case, and if the next one leaves room.
SHORTEST_CUE_S = 0.1
READABLE_CUE_S = 0.7


@dataclass(frozen=True)
class Cue:
    """What is on the screen from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript as cues, in order; none overlaps the next, none is empty.

    Where segments lie over each other, a cue ends when the next one begins, or is moved behind it.
    """
    drafts = [
        Cue(words[0].start_s, words[-1].end_s, tuple(_lines(words)))
        for segment in transcript.segments
        for words in phrases(segment, MAX_LINES)
    ]
    placed: list[Cue] = []
    from_s = 0.0
    for number, draft in enumerate(drafts, start=1):
        start_s = max(draft.start_s, from_s)
        end_s = min(max(draft.end_s, start_s + READABLE_CUE_S), start_s + MAX_CUE_S)
        if number < len(drafts):
            end_s = min(end_s, drafts[number].start_s)
        from_s = max(end_s, start_s + SHORTEST_CUE_S)
        placed.append(Cue(start_s, from_s, draft.lines))
    return placed


def timed_words(segment: Segment) -> list[Word]:
    """The words of a segment, none wider than a line, with single spaces.

    Where their times are not known, they are spread evenly by their length.
    """
    known = _whole([word for word in segment.words if word.text.strip()])
    if known:
        return [part for word in known for part in _parts(word)]
    whole = Word(segment.text, segment.start_s, segment.end_s, 0.0)
    texts = [f" {text}" for text in segment.text.split()]
    return [part for word in _spread(whole, texts) for part in _parts(word)]


def _whole(words: Iterable[Word]) -> list[Word]:
    """The words, with those joined that only together are whole characters.

    Models write scripts without spaces in pieces that may begin with a vowel sign or an accent.
    """
    whole: list[Word] = []
    for word in words:
        if whole and _splits_character(whole[-1].text, word.text):
            last = whole[-1]
            whole[-1] = replace(last, text=last.text + word.text, end_s=word.end_s)
        else:
            whole.append(word)
    return whole


def _splits_character(before: str, after: str) -> bool:
    place = 0
    for character in iter_graphemes(before + after):
        if place >= len(before):
            break
        place += len(character)
    return place > len(before)


def _parts(word: Word) -> list[Word]:
    """A word, or its parts where it is wider than a line."""
    text = " ".join(word.text.split())
    space = " " if word.text[:1].isspace() else ""
    if columns(text) <= LINE_COLUMNS:
        return [replace(word, text=space + text)]
    lines = [""]
    for character in iter_graphemes(text):
        if columns(lines[-1] + character) > LINE_COLUMNS:
            lines.append("")
        lines[-1] += character
    first, *rest = _spread(word, lines)
    return [replace(first, text=space + first.text), *rest]


def columns(text: str) -> int:
    """How many columns a text without line breaks takes on the screen."""
    return sum(max(0, wcswidth(character)) for character in iter_graphemes(text))


def _spread(whole: Word, texts: Sequence[str]) -> list[Word]:
    """The time of a word shared out among texts by their length."""
    length, length_s = sum(map(len, texts)), whole.end_s - whole.start_s
    spread, before = [], 0
    for text in texts:
        start_s, end_s = (
            round(whole.start_s + length_s * end / length, 3)
            for end in (before, before + len(text))
        )
        spread.append(replace(whole, text=text, start_s=start_s, end_s=end_s))
        before += len(text)
    return spread


def phrases(segment: Segment, most_lines: int) -> Iterator[list[Word]]:
    """The words of a segment in groups that fill at most so many lines, cut at pauses."""
    group: list[Word] = []
    for word in timed_words(segment):
        if group and (
            len(_lines([*group, word])) > most_lines
            or word.end_s - group[0].start_s > MAX_CUE_S
            or word.start_s - group[-1].end_s > PAUSE_S
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _lines(words: Sequence[Word]) -> list[str]:
    """The words in lines."""
    lines: list[str] = []
    line = ""
    for word in words:
        if line and columns((line + word.text).strip()) > LINE_COLUMNS:
            lines.append(line.strip())
            line = ""
        line += word.text
    return [*lines, line.strip()]
