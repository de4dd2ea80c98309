"""Splits a transcript into subtitle cues.

The rules are those of broadcasters: at most two lines of 42 columns, cues of 0.7 s (if the next one
allows) to 7 s, in order and without overlaps. Chinese, Japanese and Korean characters are two
columns wide. Lines end where the script allows it (see `line_breaks`), and never inside a grapheme
cluster.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from wcwidth import iter_graphemes

from studio.storage.on_demand import check_wanted
from studio.transcription.line_breaks import columns, line_ends, units
from studio.transcription.transcript import Segment, Transcript, Word

LINE_COLUMNS = 42
# Characters without a width, such as accents, count too.
LINE_CHARACTERS = 200
MAX_LINES = 2
MAX_CUE_S = 7.0
# A pause of this length starts a new cue.
PAUSE_S = 1.0
# Minimum duration of a cue: always, and if the next one allows.
SHORTEST_CUE_S = 0.1
READABLE_CUE_S = 0.7

Row = list[Word]
"""The words of a line."""


@dataclass(frozen=True)
class Cue:
    """The lines on screen from `start_s` to `end_s`.

    `has_times` is false if the times of the words are guesses.
    """

    start_s: float
    end_s: float
    rows: tuple[tuple[Word, ...], ...]
    has_times: bool

    @property
    def lines(self) -> list[str]:
        return [text_of(row) for row in self.rows]


def text_of(row: Sequence[Word]) -> str:
    """The text of a line."""
    return "".join(word.text for word in row).strip()


def cues(transcript: Transcript) -> list[Cue]:
    """The cues of a transcript, in order, without overlaps or empty cues.

    If segments overlap, a cue ends when the next one begins, or is moved after it. Words stay
    within their cue, in order.
    """
    drafts = [
        (rows, bool(segment.words))
        for segment in transcript.placed_segments
        for rows in phrases(segment, MAX_LINES)
    ]
    placed: list[Cue] = []
    from_s = 0.0
    for number, (rows, has_times) in enumerate(drafts, start=1):
        start_s = max(rows[0][0].start_s, from_s)
        end_s = min(max(rows[-1][-1].end_s, start_s + READABLE_CUE_S), start_s + MAX_CUE_S)
        if number < len(drafts):
            next_rows, _ = drafts[number]
            end_s = min(end_s, next_rows[0][0].start_s)
        from_s = max(end_s, start_s + SHORTEST_CUE_S)
        placed.append(Cue(start_s, from_s, tuple(_within(rows, start_s, from_s)), has_times))
    return placed


def _within(rows: Iterable[Row], start_s: float, end_s: float) -> Iterator[tuple[Word, ...]]:
    """The words, moved into a span of time; none begins before the end of another."""
    for row in rows:
        moved = []
        for word in row:
            begin_s = min(max(word.start_s, start_s), end_s)
            start_s = min(max(word.end_s, begin_s), end_s)
            moved.append(replace(word, start_s=begin_s, end_s=start_s))
        yield tuple(moved)


def short_lines(transcript: Transcript) -> Iterator[tuple[Row, bool]]:
    """The words in lines as short as those of cues, and whether the times of words are known."""
    for segment in transcript.placed_segments:
        for [row] in phrases(segment, max_lines=1):
            yield row, bool(segment.words)


def phrases(segment: Segment, max_lines: int) -> Iterator[list[Row]]:
    """Group the words of a segment into cues, each as its lines, split at pauses."""
    check_wanted()
    rows: list[Row] = []
    for chunk in _chunks(timed_words(segment)):
        added = _with_chunk(rows, chunk)
        if rows and (
            len(added) > max_lines
            or chunk[-1].end_s - rows[0][0].start_s > MAX_CUE_S
            or chunk[0].start_s - rows[-1][-1].end_s > PAUSE_S
        ):
            yield rows
            added = [chunk]
        rows = added
    if rows:
        yield rows


def _with_chunk(rows: list[Row], chunk: Row) -> list[Row]:
    if not rows or not _fits(text_of([*rows[-1], *chunk])):
        return [*rows, chunk]
    return [*rows[:-1], [*rows[-1], *chunk]]


def _fits(text: str) -> bool:
    """Whether a line has room for a text."""
    return len(text) <= LINE_CHARACTERS and columns(text) <= LINE_COLUMNS


def _chunks(words: Sequence[Word]) -> Iterator[Row]:
    """Join words between which no line may end, if they fit a line and no pause separates them."""
    ends = line_ends("".join(word.text for word in words))
    chunk: Row = []
    place = 0
    for word in words:
        spaces = len(word.text) - len(word.text.lstrip())
        if chunk and (
            place + spaces in ends
            or word.start_s - chunk[-1].end_s > PAUSE_S
            or not _fits(text_of([*chunk, word]))
        ):
            yield chunk
            chunk = []
        chunk.append(word)
        place += len(word.text)
    if chunk:
        yield chunk


def timed_words(segment: Segment) -> list[Word]:
    """The words of a segment with single spaces, none wider than a line.

    If their times are unknown, they are distributed by length.
    """
    words = _whole(_placed([word for word in segment.words if word.text.strip()]))
    if not words:
        whole = Word(segment.text, segment.start_s, segment.end_s, 0.0)
        words = _spread(whole, [text for token in segment.text.split() for text in _spaced(token)])
    return [part for word in words for part in _parts(word)]


def _spaced(token: str) -> list[str]:
    """The parts of a token between which a line may end, with a space before the first."""
    first, *rest = units(token)
    return [f" {first}", *rest]


def _placed(words: Iterable[Word]) -> Iterator[Word]:
    """Join words without a place to the one before them, or at the beginning to the next."""
    held: Word | None = None
    for word in words:
        if held is None:
            held = word
        elif held.placed and word.placed:
            yield held
            held = word
        else:
            timed = held if held.placed else word
            held = replace(timed, text=held.text + word.text)
    if held is not None:
        yield held


def _whole(words: Iterable[Word]) -> list[Word]:
    """Join words that form a grapheme cluster only together.

    In scripts without spaces, the pieces of a model may begin with a vowel sign or an accent.
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
    # The end of a text decides, and measuring all of it for each word would take long.
    before = before[-LINE_CHARACTERS:]
    place = 0
    for character in iter_graphemes(before + after):
        if place >= len(before):
            break
        place += len(character)
    return place > len(before)


def _parts(word: Word) -> list[Word]:
    """A word, or its parts if it is wider than a line."""
    text = " ".join(word.text.split())
    space = " " if word.text[:1].isspace() else ""
    if _fits(text):
        return [replace(word, text=space + text)]
    lines, width = [""], 0
    for unit in units(text):
        # A unit that is wider than a line may be cut at any character.
        for piece in [unit] if _fits(unit.rstrip()) else iter_graphemes(unit):
            length = len(lines[-1]) + len(piece)
            is_full = width + columns(piece.rstrip()) > LINE_COLUMNS or length > LINE_CHARACTERS
            if lines[-1] and is_full:
                lines.append("")
                width = 0
            lines[-1] += piece
            width += columns(piece)
    first, *rest = _spread(word, lines)
    return [replace(first, text=space + first.text), *rest]


def _spread(whole: Word, texts: Sequence[str]) -> list[Word]:
    """Distribute the time of a word among texts by length."""
    places = [0, *accumulate(len(text.strip()) for text in texts)]
    per_letter_s = (whole.end_s - whole.start_s) / max(1, places[-1])
    times_s = [round(whole.start_s + per_letter_s * place, 3) for place in places]
    return [
        replace(whole, text=text, start_s=start_s, end_s=end_s)
        for text, (start_s, end_s) in zip(texts, pairwise(times_s), strict=True)
    ]
