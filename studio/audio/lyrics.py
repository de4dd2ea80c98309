"""The words of a song in lines, with the times at which they are sung."""

from dataclasses import dataclass


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
