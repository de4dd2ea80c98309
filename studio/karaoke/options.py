"""The options of a video. All values are texts, as in a query."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio import audio
from studio.audio.lyrics import MAX_OFFSET_MS, parse_offset_ms
from studio.audio.mix_options import parse_mix
from studio.errors import InvalidOption

VOCALS = "vocals"
DEFAULT_SIZE = "1280x720"
COVER = "cover"
DEFAULT_BACKGROUND = "101828"
MIN_SIDE, MAX_SIDE, MAX_PIXELS = 160, 1920, 1920 * 1080
MAX_TITLE_CHARACTERS = 120
HELP = {
    "size": f"Width and height of the video in pixels (default: {DEFAULT_SIZE}).",
    "vocals": "Level of the vocals, 0 to 2 or decibels such as -6dB (default: 0).",
    "key": "Change of the key in semitones (default: 0).",
    "tempo": "Speed, 0.5 to 2, without a change of the key (default: 1).",
    "title": "Title at the beginning (default: title and artist of the file).",
    "background": f"Colour as six hexadecimal digits, or {COVER}: the picture in the file "
    f"(default: {DEFAULT_BACKGROUND}).",
    "offset_ms": "Show the words this many milliseconds later, or earlier if negative, "
    f"{-MAX_OFFSET_MS} to {MAX_OFFSET_MS} (default: 0).",
}
"""The options of the video on the command line."""


@dataclass(frozen=True)
class VideoOptions:
    """A video of `width` by `height` pixels with the sound of `mix`.

    `title` is None for that of the recording. `background` is a colour, as six hexadecimal digits,
    or COVER for the picture of the recording. The words are shown `offset_ms` later, in the time of
    the recording.
    """

    mix: audio.Mix
    width: int
    height: int
    title: str | None
    background: str
    offset_ms: int = 0


def parse_video(values: Mapping[str, str], stems: Sequence[str]) -> VideoOptions:
    """Check options; the levels are those of `stems`. Raises InvalidOption."""
    width, height = _size(values.get("size", DEFAULT_SIZE))
    mix = parse_mix({VOCALS: "0", **values}, stems)
    return VideoOptions(
        mix,
        width,
        height,
        _title(values.get("title")),
        _background(values),
        parse_offset_ms(values.get("offset_ms", "0")),
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    is_valid = all(MIN_SIDE <= side <= MAX_SIDE and side % 2 == 0 for side in (width, height))
    if not is_valid or width * height > MAX_PIXELS:
        raise InvalidOption(
            f"`size` is {text[:50]!r}; it must be WIDTHxHEIGHT in even numbers of pixels from "
            f"{MIN_SIDE} to {MAX_SIDE}, at most {MAX_PIXELS:,} in all, such as {DEFAULT_SIZE}."
        )
    return width, height


def _title(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > MAX_TITLE_CHARACTERS or audio.without_controls(text) != text:
        raise InvalidOption(
            f"`title` is {text[:50]!r} and has {len(text)} characters; it must have at most "
            f"{MAX_TITLE_CHARACTERS}, without line breaks or control characters."
        )
    return text


def _background(values: Mapping[str, str]) -> str:
    text = values.get("background", DEFAULT_BACKGROUND)
    if text != COVER and not re.fullmatch(r"[0-9a-fA-F]{6}", text):
        raise InvalidOption(
            f"`background` is {text[:50]!r}; it must be a colour as six hexadecimal digits, such "
            f"as {DEFAULT_BACKGROUND}, or {COVER} for the picture in the file."
        )
    return text.lower()
