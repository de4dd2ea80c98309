"""The tags of a recording: title, artist, album."""

import re
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from studio.audio.child import RECORDING, Child
from studio.audio.pictures import Picture, read_picture
from studio.errors import NotAudio

# Longer texts are cut.
MAX_CHARACTERS = 500
MAX_BYTES = 1 << 20
# Ogg files have the tags in the stream, all others in the container.
_COMMAND = ["-v", "error", *RECORDING, "-an", "-map_metadata", "0", "-map_metadata", "0:s:a:0"]
# Control characters, surrogates, and separators of lines and paragraphs. Format characters stay:
# Persian words and emoji are joined by them.
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
_UNESCAPED = re.compile(r"\\(.)", re.DOTALL)
# A backslash escapes the next character, such as a line break in a value or "=" in a name. The
# patterns are possessive, so that they take linear time on any text.
_LINE = re.compile(r"(?:\\.|[^\\\n])++", re.DOTALL)
_TAG = re.compile(r"((?:\\.|[^\\=])++)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Tags:
    """The tags that are carried into results, with the cover and the file name of the recording.

    They are None where they are unknown.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    filename: str | None = None
    picture: Picture | None = field(default=None, repr=False)

    def completed(self, filename: str) -> "Tags":
        """With the file name, and a title and an artist from one like "Artist - Title.mp3"."""
        filename = without_controls(filename)
        named = replace(self, filename=filename)
        if self.title:
            return named
        name = PurePath(filename).stem.strip()
        artist, dash, title = (part.strip() for part in name.partition(" - "))
        if not dash or not title:
            return replace(named, title=name or None)
        return replace(named, title=title, artist=self.artist or artist or None)

    def of_track(self, name: str) -> "Tags":
        """The tags of a track of the recording, with its name in the title."""
        return replace(self, title=f"{self.title} ({name})" if self.title else name)

    @property
    def picture_bytes(self) -> int:
        """What the picture takes in a file at most: OGG contains it as base64."""
        return 2 * len(self.picture.data) if self.picture else 0

    def texts(self) -> dict[str, str]:
        """The tags that are written into files."""
        known = {"title": self.title, "artist": self.artist, "album": self.album}
        return {name: text for name, text in known.items() if text}


NO_TAGS = Tags()


def without_controls(text: str) -> str:
    """The text without characters that must not be in one line of text."""
    return "".join(letter for letter in text if unicodedata.category(letter) not in _CONTROLS)


def read_tags(path: Path) -> Tags:
    """The tags of a recording, each in one line of text; none where they cannot be read."""
    text = bytearray()
    try:
        with Child([*_COMMAND, "-f", "ffmetadata", "pipe:1"], path) as child:
            while (data := child.receive()) and len(text) < MAX_BYTES:
                text += data
    except NotAudio:
        return NO_TAGS
    known = _parsed(text.decode("utf-8", "replace"))
    return Tags(known.get("title"), known.get("artist"), known.get("album"))


def read_all_tags(path: Path) -> Tags:
    """The tags of a recording with its cover."""
    return replace(read_tags(path), picture=read_picture(path))


def _parsed(text: str) -> dict[str, str]:
    """The values of ffmpeg's metadata format, up to its first section."""
    known: dict[str, str] = {}
    for line in _LINE.finditer(text):
        tag = _TAG.fullmatch(line[0])
        if tag is None:
            if line[0].startswith("["):
                break
            continue
        name, value = (_UNESCAPED.sub(r"\1", part) for part in tag.groups())
        if plain := without_controls(" ".join(value.split())):
            known.setdefault(name.lower(), plain[:MAX_CHARACTERS])
    return known
