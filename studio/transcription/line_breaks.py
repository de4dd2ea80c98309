"""Where a line of text may end, by the rules of its script, and how wide text is.

The rules are those of Unicode (UAX #14), and for Thai the boundaries between words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

from wcwidth import iter_graphemes, wcswidth

_THAI = re.compile("[\u0e00-\u0e7f]+")
# Signs that belong to the Thai word before them: repetition and abbreviation.
_THAI_SIGNS = "ๆฯ"
# Scripts that are written without spaces between words: Thai to Burmese, Khmer, Chinese, Japanese.
_LETTERS_WITHOUT_SPACES = (
    "\u0e01-\u0eff\u0f00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\ua4cf\ua9e0-\ua9ff"
    "\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_WITHOUT_SPACES = re.compile(f"[{_LETTERS_WITHOUT_SPACES}]")
_WITHOUT_DICTIONARY = re.compile("[\u0e80-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]")
# Chinese and Japanese, with their punctuation; Thai has spaces between sentences.
_WITHOUT_SPACE_BEFORE = re.compile(
    "[\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
# uniseg needs time by the square of the length of some texts.
_PIECE_CHARACTERS = 200
# Words before and after which lines may end, and not inside.
_PLAIN = re.compile(r"[^\W_][\w'\u2019.,?!;:\u2026]*")


def columns(text: str) -> int:
    """The width of text without line breaks, in columns."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(max(0, wcswidth(character)) for character in iter_graphemes(text))


# The formats of a transcript are often written one after the other.
@lru_cache
def units(text: str) -> tuple[str, ...]:
    """The parts of a text between which a line may end; each has the spaces that follow it."""
    if _is_plain(text):
        return tuple(re.findall(r"\s*\S+\s*|\s+", text))
    parts: list[str] = []
    for unit in _line_break_units(text):
        parts += _words_of_thai(unit) if _THAI.search(unit) else [unit]
    return tuple(parts)


def _line_break_units(text: str) -> Iterator[str]:
    """The parts of a text between which a line may end by UAX #14, found piece by piece.

    The last part of a piece may go on in the next one, which therefore begins with it.
    """
    from uniseg.linebreak import line_break_units

    place, begun = 0, ""
    while place < len(text):
        piece = text[place : place + _PIECE_CHARACTERS]
        parts = list(line_break_units(piece))
        if place + len(piece) < len(text):
            last = parts.pop()
            if not parts:
                begun += last
                place += len(piece)
                continue
        place += sum(map(len, parts))
        yield begun + parts[0]
        yield from parts[1:]
        begun = ""


def line_ends(text: str) -> set[int]:
    """The places in a text where a line may end."""
    return set(accumulate(map(len, units(text))))


def count_words(text: str) -> int:
    """The number of words; of characters in Chinese, Japanese, and scripts like Lao or Khmer."""
    return sum(_count(token) for token in text.split())


def split_words(text: str) -> list[str]:
    """The words of a text, each with the space before it.

    Scripts without spaces are split where a line may end, or at each character if they need a
    dictionary for that.
    """
    words: list[str] = []
    for token in text.split():
        parts: Sequence[str] = [token]
        if _WITHOUT_SPACES.search(token):
            with_dictionary = _WITHOUT_DICTIONARY.search(token)
            parts = list(iter_graphemes(token)) if with_dictionary else units(token)
        words += [f" {parts[0]}", *parts[1:]]
    return words


def with_space(text: str) -> str:
    """The text of a segment with the space before it, if its script has one there."""
    plain = text.strip()
    return plain if _WITHOUT_SPACE_BEFORE.match(plain) else f" {plain}"


def joined_texts(texts: Iterable[str]) -> str:
    """The texts of segments or utterances as one, with spaces where their scripts have them."""
    return "".join(with_space(text) for text in texts if text.strip()).removeprefix(" ")


def without_spaces(text: str) -> bool:
    """Whether a text has letters of a script that is written without spaces."""
    return _WITHOUT_SPACES.search(text) is not None


def _count(token: str) -> int:
    if not _WITHOUT_SPACES.search(token):
        return 1
    parts = iter_graphemes(token) if _WITHOUT_DICTIONARY.search(token) else units(token)
    return max(1, sum(any(letter.isalnum() for letter in part) for part in parts))


def _is_plain(text: str) -> bool:
    return not _WITHOUT_SPACES.search(text) and all(map(_PLAIN.fullmatch, text.split()))


@cache
def _thai_parser() -> Any:
    from budoux import load_default_thai_parser

    return load_default_thai_parser()


def _words_of_thai(text: str) -> Iterator[str]:
    """The parts of a text at the boundaries of Thai words."""
    characters = {0, *accumulate(len(one) for one in iter_graphemes(text))}
    begin = 0
    for run in _THAI.finditer(text):
        for end in accumulate(map(len, _thai_parser().parse(run[0]))):
            place = run.start() + end
            if end < len(run[0]) and place in characters and text[place] not in _THAI_SIGNS:
                yield text[begin:place]
                begin = place
    yield text[begin:]
