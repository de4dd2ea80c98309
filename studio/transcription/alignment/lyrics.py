"""Reads lyrics: lines of words, in the spelling of the caller."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.errors import InvalidOption
from studio.storage.texts import read_text
from studio.transcription.line_breaks import split_words

MAX_CHARACTERS = 20_000
MAX_LINE_CHARACTERS = 2000
MAX_BLANK_LINES = 100
_FILE_ID = re.compile(r"[0-9a-f]{32}")
# [Chorus], [Verse 2: Anna], and the tags of LRC files.
_HEADING = re.compile(r"\s*\[[^\[\]]*\]\s*")
# Time stamps of lines and words in LRC files.
_TIME_STAMPS = re.compile(r"[\[<]\d{1,3}:\d\d(?:[.:]\d{1,3})?[\]>]")


@dataclass(frozen=True)
class Line:
    """A line as the caller wrote it, and its words, each with the space before it."""

    text: str
    words: tuple[str, ...]
    blank_lines_before: int = 0


def is_file_id(text: str) -> bool:
    """Whether the option `lyrics` has the form of the ID of a file."""
    return _FILE_ID.fullmatch(text) is not None


def lyrics_in(path: Path) -> str:
    """The text of a file with lyrics. Raises TextUnreadable."""
    return read_text(path, MAX_CHARACTERS, "lyrics")


def read_lyrics(text: str) -> list[Line]:
    """The lines of lyrics. Raises InvalidOption.

    Lines in square brackets are headings or tags and left out, as are the time stamps of LRC.
    """
    _check(text)
    lines: list[Line] = []
    blank_lines = 0
    for row in text.splitlines():
        plain = _TIME_STAMPS.sub("", row).strip()
        if not plain:
            blank_lines += 1
        elif not _HEADING.fullmatch(plain):
            before = min(blank_lines, MAX_BLANK_LINES) if lines else 0
            lines.append(Line(plain, tuple(_words(plain)), before))
            blank_lines = 0
    if not any(line.words for line in lines):
        raise InvalidOption("`lyrics` has no words. Give the text that is sung.")
    return lines


def _check(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise InvalidOption(
            f"`lyrics` has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed. "
            "Shorten it."
        )
    for number, row in enumerate(text.splitlines(), start=1):
        if len(row) > MAX_LINE_CHARACTERS:
            raise InvalidOption(
                f"Line {number} of `lyrics` has {len(row):,} characters; at most "
                f"{MAX_LINE_CHARACTERS:,} are allowed. Break it into lines as they are sung."
            )
    for letter in text:
        if unicodedata.category(letter) == "Cc" and letter not in "\t\n\r":
            raise InvalidOption(
                f"`lyrics` contains the control character U+{ord(letter):04X}. Remove it."
            )


def _words(line: str) -> Iterator[str]:
    """The words of a line; dashes and notes between words belong to the one before."""
    held = ""
    for word in split_words(line):
        if held and match_units(word) and match_units(held):
            yield held
            held = ""
        held += word
    if match_units(held):
        yield held


def match_units(word: str) -> str:
    """The letters and digits of a word, without case and diacritics: for comparisons only."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", word).casefold())
    return "".join(letter for letter in plain if letter.isalnum())


def all_words(lines: Sequence[Line]) -> list[str]:
    """The words of lines, in order."""
    return [word for line in lines for word in line.words]
