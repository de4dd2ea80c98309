"""What a video shows: the title at the beginning, and two lines of lyrics, filled while sung.

It is a script in Advanced SubStation Alpha, which libass draws. Words from right to left are filled
character by character, because libass fills everything from the left.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from wcwidth import iter_graphemes

from studio.audio.lyrics import LyricLine, LyricWord
from studio.audio.substation import clock, hundredths, plain
from studio.karaoke.fonts import Fonts, Run
from studio.karaoke.options import MAX_TITLE_CHARACTERS

# Lines are shown this long before they are sung, and after it if the next one allows.
LEAD_S = 4.0
HOLD_S = 0.5
# The shortest time between the appearance of a line and its first word, if possible.
MIN_LEAD_S = 1.0
TITLE_S = 5.0
# Shares of the height: text size, the middles of the lines, and of the title.
TEXT_SHARE, LINE_PLACES, TITLE_PLACE = 0.075, (0.6, 0.78), 0.2
# Text size as a share of the width, and the widest line.
TEXT_SHARE_OF_WIDTH, LINE_SHARE = 0.0375, 0.92
# Blue, green, red: sung and unsung text, and its outline.
SUNG, UNSUNG, OUTLINE = "0000D7FF", "00FFFFFF", "00000000"


@dataclass(frozen=True)
class Shown:
    """A line, in one of two places, with the times at which it appears and disappears."""

    line: LyricLine
    place: int
    from_s: float
    to_s: float


class Screen:
    """Writes the script of a video of `width` by `height` pixels."""

    def __init__(self, width: int, height: int, fonts: Fonts) -> None:
        self._width, self._height = width, height
        self._fonts = fonts
        self._size = max(8, round(min(TEXT_SHARE * height, TEXT_SHARE_OF_WIDTH * width)))
        self._em = self._size / fonts.main.height_em

    def script(self, lines: list[LyricLine], titles: list[str]) -> str:
        """The script with the lines, and with titles below each other at the beginning."""
        events = [*self._titles(titles), *map(self._line, shown_lines(lines))]
        family = self._fonts.main.family
        outline = max(1, round(self._size / 16))
        return (
            "[Script Info]\nScriptType: v4.00+\nWrapStyle: 2\nScaledBorderAndShadow: yes\n"
            f"PlayResX: {self._width}\nPlayResY: {self._height}\n"
            "\n[V4+ Styles]\n"
            "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, "
            "BackColour, Bold, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, "
            "Encoding\n"
            # The encoding -1 takes the direction of a line from its text.
            f"Style: Default,{family},{self._size},&H{SUNG},&H{UNSUNG},&H{OUTLINE},&H{OUTLINE},-1,"
            f"1,{outline},0,5,0,0,0,-1\n"
            "\n[Events]\nFormat: Layer, Start, End, Style, Text\n" + "".join(events)
        )

    def _titles(self, titles: list[str]) -> Iterator[str]:
        for number, title in enumerate(filter(None, titles)):
            runs = self._fonts.runs(plain(title[:MAX_TITLE_CHARACTERS]))
            place = TITLE_PLACE + number * 1.5 * TEXT_SHARE
            text = "".join(_in_fonts(runs, self._fitting(runs)))
            yield self._event(0.0, TITLE_S, place, f"{{\\1c&H{UNSUNG}&}}{text}")

    def _line(self, shown: Shown) -> str:
        line = shown.line
        at = hundredths(shown.from_s)
        runs = self._fonts.runs(plain(line.text))
        em = self._fitting(runs)
        if line.has_times:
            text = "".join(self._words(line.words, at, em))
        else:
            start, end = hundredths(line.start_s), hundredths(line.end_s)
            text = f"{{\\k{max(0, start - at)}}}{{\\k{max(0, end - start)}}}"
            text += "".join(_in_fonts(runs, em))
        return self._event(shown.from_s, shown.to_s, LINE_PLACES[shown.place], text)

    def _words(self, words: tuple[LyricWord, ...], at: int, em: float) -> Iterator[str]:
        """The words, filled at their times; `at` is when the line appears, in hundredths."""
        for number, word in enumerate(words):
            text = plain(word.text.strip())
            space = " " if number and word.text[:1].isspace() else ""
            start = max(at, hundredths(word.start_s))
            end = max(start, hundredths(word.end_s))
            yield f"{{\\k{start - at}}}{space}"
            parts = list(iter_graphemes(text)) if _is_from_right(text) else [text]
            ends = [start + (end - start) * count // len(parts) for count in range(len(parts) + 1)]
            for part, (begin, stop) in zip(parts, pairwise(ends), strict=True):
                yield f"{{\\kf{stop - begin}}}"
                yield from _in_fonts(self._fonts.runs(part), em)
            at = end

    def _fitting(self, runs: list[Run]) -> float:
        """The pixels of an em in which a line fits the screen."""
        width_em = sum(run.width_em for run in runs)
        most = LINE_SHARE * self._width / width_em if width_em else self._em
        return min(self._em, most)

    def _event(self, from_s: float, to_s: float, place: float, text: str) -> str:
        """A line in the middle of the screen."""
        x, y = self._width // 2, round(place * self._height)
        times = f"{clock(hundredths(from_s))},{clock(hundredths(to_s))}"
        return f"Dialogue: 0,{times},Default,{{\\pos({x},{y})}}{text}\n"


def _in_fonts(runs: list[Run], em: float) -> Iterator[str]:
    """Text in its fonts, in which an em has the same size."""
    for run in runs:
        yield f"{{\\fn{run.font.family}\\fs{em * run.font.height_em:.2f}}}{run.text}"


def shown_lines(lines: list[LyricLine]) -> Iterator[Shown]:
    """The lines in two alternating places, each shown ahead; after a pause the upper is first."""
    free_s = [0.0, 0.0]
    place = 0
    for number, line in enumerate(lines):
        if number and line.start_s - lines[number - 1].end_s > LEAD_S:
            place = 0
        from_s = max(free_s[place], line.start_s - LEAD_S, 0.0)
        to_s = line.end_s + HOLD_S
        if number + 2 < len(lines):
            to_s = max(line.end_s, min(to_s, lines[number + 2].start_s - MIN_LEAD_S))
        to_s = max(to_s, from_s)
        yield Shown(line, place, from_s, to_s)
        free_s[place] = to_s
        place = 1 - place


def _is_from_right(text: str) -> bool:
    return any(unicodedata.bidirectional(one) in ("R", "AL") for one in text)
