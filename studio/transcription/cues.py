"""Cuts a transcript into the lines that subtitles show.

The rules are the usual ones of broadcasters: at most two lines of 42 characters, no cue longer
than 7 s, cues in order and never over each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studio.transcription.transcript import Segment, Transcript, Word

LINE_CHARACTERS = 42
MOST_LINES = 2
LONGEST_CUE_S = 7.0
# A pause this long begins a new cue.
PAUSE_S = 1.0
SHORTEST_CUE_S = 0.1


@dataclass(frozen=True)
class Cue:
    """What is on the screen from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript as cues, in order; none overlaps the next, none is empty."""
    drafts = [
        Cue(words[0].start_s, words[-1].end_s, tuple(_lines(words)))
        for segment in transcript.segments
        for words in phrases(segment, MOST_LINES)
    ]
    placed: list[Cue] = []
    from_s = 0.0
    for draft in drafts:
        start_s = max(draft.start_s, from_s)
        end_s = max(draft.end_s, start_s + SHORTEST_CUE_S)
        placed.append(Cue(start_s, end_s, draft.lines))
        from_s = end_s
    return placed


def timed_words(segment: Segment) -> list[Word]:
    """The words of a segment; where their times are not known, spread evenly by their length."""
    words = [word for word in segment.words if word.text.strip()]
    if words:
        return words
    texts = [f" {text}" for text in segment.text.split()]
    length = sum(map(len, texts))
    spread, before = [], 0
    for text in texts:
        share = (before / length, (before + len(text)) / length)
        start_s, end_s = (
            segment.start_s + part * (segment.end_s - segment.start_s) for part in share
        )
        spread.append(Word(text, round(start_s, 3), round(end_s, 3), 0.0))
        before += len(text)
    return spread


def phrases(segment: Segment, most_lines: int) -> Iterator[list[Word]]:
    """The words of a segment in groups that fill at most so many lines, cut at pauses."""
    group: list[Word] = []
    for word in timed_words(segment):
        if group and (
            len(_lines([*group, word])) > most_lines
            or word.end_s - group[0].start_s > LONGEST_CUE_S
            or word.start_s - group[-1].end_s > PAUSE_S
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _lines(words: Sequence[Word]) -> list[str]:
    """The words in lines; a word longer than a line is cut."""
    lines: list[str] = []
    line = ""
    for word in words:
        text = " ".join(word.text.split("\n"))
        if line and len((line + text).strip()) > LINE_CHARACTERS:
            lines.append(line.strip())
            line = ""
        line += text
        while len(line.strip()) > LINE_CHARACTERS:
            line = line.strip()
            lines.append(line[:LINE_CHARACTERS])
            line = line[LINE_CHARACTERS:]
    return [*lines, line.strip()] if line.strip() else lines
