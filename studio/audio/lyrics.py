"""The words of a song in lines, with the times at which they are sung."""

import re
from dataclasses import dataclass

from studio.errors import InvalidOption

MAX_OFFSET_MS = 2000


@dataclass(frozen=True)
class LyricWord:
    """A word, including the space before it. Times are in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class LyricLine:
    """The words of a line. `has_times` is false if only the times of the line are known."""

    words: tuple[LyricWord, ...]
    has_times: bool

    @property
    def start_s(self) -> float:
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words).strip()


@dataclass(frozen=True)
class Lyrics:
    """The lines of a song, in order. `language` is a code such as `en`, or None."""

    language: str | None
    lines: tuple[LyricLine, ...]


def parse_offset_ms(text: str) -> int:
    """How many milliseconds later words are shown than they are sung. Raises InvalidOption."""
    match = re.fullmatch(r"-?[0-9]{1,4}", text)
    if not match or abs(int(text)) > MAX_OFFSET_MS:
        raise InvalidOption(
            f"`offset_ms` is {text[:50]!r}; it must be a whole number of milliseconds between "
            f"{-MAX_OFFSET_MS} and {MAX_OFFSET_MS}."
        )
    return int(text)
