"""The fonts of videos: which one has a character, and how wide text is.

FiraGO has Latin, Greek, Cyrillic, Arabic, Hebrew, Thai, Devanagari and Georgian letters. It comes,
like the symbols, with the package `pymupdf-fonts`. Fonts for other scripts are looked for in a
folder. The fonts that happen to be installed on a machine are never used.
"""

import struct
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from wcwidth import iter_graphemes

from studio.errors import FontMissing

FILE_TYPES = (".otf", ".ttc", ".ttf")
MAX_FILES = 2000
SHOWN_CHARACTERS = 10
# Parts of file names: the first are preferred, and the last are for other texts than lyrics.
_PREFERRED = ("sans", "bold", "regular")
_UNWANTED = ("italic", "oblique", "serif", "mono", "condensed", "black", "thin", "light", "ui-")
# The families of a collection for Chinese, Japanese and Korean differ in the shapes of letters.
_REGIONS = {"zh": "SC", "ja": "JP", "ko": "KR", "yue": "HK"}
# A letter of each language of Whisper whose script no bundled font has.
LETTERS = {
    "am": "አ", "as": "অ", "bn": "অ", "bo": "ཀ", "gu": "અ", "hy": "Ա", "ja": "あ", "km": "ក",
    "kn": "ಅ", "ko": "가", "lo": "ກ", "ml": "അ", "my": "က", "pa": "ਅ", "si": "අ", "ta": "அ",
    "te": "అ", "yue": "的", "zh": "的",
}  # fmt: skip
# Pictures such as emoji are left out if no font has them.
_PICTURES = ("So", "Sk", "Co", "Cn")
# Characters that are not seen; some have an effect on others.
_UNSEEN = ("Cf", "Cc", "Cs", "Zs", "Zl", "Zp")
_SELECTORS = range(0xFE00, 0xFE10)


@dataclass(frozen=True, eq=False)
class Font:
    """A font. `file` is its content or its path.

    `codes` are its characters, uint32 (characters,) in order, and `widths` their widths in ems,
    float32 (characters,). libass takes the size of text as that of `height_em`.
    """

    family: str
    file: bytes | Path = field(repr=False)
    file_type: str
    height_em: float
    codes: npt.NDArray[np.uint32]
    widths: npt.NDArray[np.float32]

    def has(self, text: str) -> bool:
        """Whether it has all characters of a text that must be seen."""
        return all(self.width_em(one) is not None for one in text if not _is_unseen(one))

    def width_em(self, character: str) -> float | None:
        """The width of a character; None if the font does not have it."""
        place = int(np.searchsorted(self.codes, ord(character)))
        is_there = place < len(self.codes) and self.codes[place] == ord(character)
        return float(self.widths[place]) if is_there else None


@dataclass(frozen=True)
class Run:
    """Text in one font."""

    text: str
    font: Font

    @property
    def width_em(self) -> float:
        """The width of the text, without kerning and ligatures."""
        return sum(self.font.width_em(one) or 0.0 for one in self.text)


class Fonts:
    """The fonts for a text, in the order of preference."""

    def __init__(self, fonts: Iterable[Font]) -> None:
        self._fonts = list(fonts)
        self.used: list[Font] = []

    @classmethod
    def for_text(cls, text: str, folder: Path | None, language: str | None) -> "Fonts":
        """The bundled fonts and, if they are not enough, those of a folder. Raises FontMissing."""
        fonts = list(bundled_fonts())
        needed = {one for one in text if unicodedata.category(one) not in _PICTURES}
        missing = {one for one in needed if not any(font.has(one) for font in fonts)}
        for font in _in_folder(folder, language) if missing and folder else ():
            if any(font.has(one) for one in missing):
                fonts.append(font)
                missing = {one for one in missing if not font.has(one)}
            if not missing:
                break
        if missing:
            raise _missing(missing, folder)
        return cls(fonts)

    @property
    def main(self) -> Font:
        """The font that is used where it has the characters."""
        return self._fonts[0]

    def runs(self, text: str) -> list[Run]:
        """A text as runs of one font each. Pictures that no font has are left out."""
        runs: list[Run] = []
        for character in iter_graphemes(text):
            last = runs[-1].font if runs else self.main
            shown = "".join(one for one in character if self._is_shown(one))
            # Spaces and marks do not change the font.
            font = next((one for one in (last, *self._fonts) if one.has(shown)), last)
            if shown.strip() and self.main.has(shown):
                font = self.main
            if runs and font is last:
                runs[-1] = Run(runs[-1].text + shown, font)
            else:
                runs.append(Run(shown, font))
        for run in runs:
            if run.font not in self.used:
                self.used.append(run.font)
        return runs

    def _is_shown(self, character: str) -> bool:
        """Whether a character is in a font, or is a space, or has an effect on others."""
        has_effect = character.isspace() or unicodedata.category(character) == "Cf"
        return has_effect or any(font.width_em(character) is not None for font in self._fonts)


@cache
def bundled_fonts() -> tuple[Font, ...]:
    """The fonts that are always there."""
    from pymupdf_fonts import FiraGO_Bold, NotoSansSymbols2_Regular, NotoSansSymbols_Regular

    modules = (FiraGO_Bold, NotoSansSymbols_Regular, NotoSansSymbols2_Regular)
    return tuple(font for one in modules for font in _read(one.fontbuffer, "ttf"))


def _in_folder(folder: Path, language: str | None) -> Iterator[Font]:
    """The fonts of a folder, the most suitable first. Files that are not fonts are skipped."""
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in FILE_TYPES and path.is_file()
    )
    for path in sorted(paths[:MAX_FILES], key=lambda path: _rank(path.name.lower())):
        fonts = _of_file(path, path.stat().st_mtime_ns)
        region = _REGIONS.get(language or "", "")
        yield from sorted(fonts, key=lambda font: region not in font.family.split())


def _rank(name: str) -> tuple[int, ...]:
    unwanted = sum(part in name for part in _UNWANTED if part != "serif" or "sansserif" not in name)
    return (unwanted, *(part not in name for part in _PREFERRED))


@cache
def _of_file(path: Path, _modified_ns: int) -> tuple[Font, ...]:
    from fontTools.ttLib import TTLibError

    try:
        return tuple(_read(path, path.suffix.lower()[1:]))
    except (TTLibError, OSError, LookupError, ValueError, AssertionError, struct.error):
        # fontTools hardly checks what it reads.
        return ()


def _read(file: bytes | Path, file_type: str) -> Iterator[Font]:
    """The fonts in a file, which may be a collection."""
    from fontTools.ttLib import TTCollection, TTFont

    source = BytesIO(file) if isinstance(file, bytes) else file
    if file_type == "ttc":
        with TTCollection(source, lazy=True) as collection:
            for font in collection.fonts:
                yield _described(font, file, file_type)
    else:
        with TTFont(source, lazy=True) as font:
            yield _described(font, file, file_type)


def _described(font: Any, file: bytes | Path, file_type: str) -> Font:
    family = str(font["name"].getDebugName(1) or "")
    if not family or any(one in family for one in "{}\\,"):
        raise ValueError("a font needs a plain name")
    metrics, units = font["hmtx"].metrics, font["head"].unitsPerEm
    height = (font["OS/2"].usWinAscent + font["OS/2"].usWinDescent) / units
    characters = sorted((font.getBestCmap() or {}).items())
    codes = np.array([code for code, _ in characters], np.uint32)
    widths = np.array([metrics[name][0] / units for _, name in characters], np.float32)
    return Font(family, file, file_type, height, codes, widths)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or ord(character) in _SELECTORS


def _missing(characters: Iterable[str], folder: Path | None) -> FontMissing:
    shown = "".join(sorted(characters)[:SHOWN_CHARACTERS])
    names = {unicodedata.name(one, "unknown").split()[0].lower() for one in characters}
    where = f"the folder {folder.name!r} of FONTS_DIR" if folder else "FONTS_DIR, which is not set"
    return FontMissing(
        f"The video cannot show {shown!r} ({', '.join(sorted(names)[:SHOWN_CHARACTERS])}): no font "
        f"has these characters. The operator can add one to {where}, such as those of the Debian "
        "packages fonts-noto-cjk and fonts-noto-core."
    )
