"""The tags of a recording: title, artist, album."""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from studio.audio.child import RECORDING, Child
from studio.errors import NotAudio

# Longer texts are cut.
MAX_CHARACTERS = 500
MAX_BYTES = 1 << 20
# Ogg files have the tags in the stream, all others in the container.
_COMMAND = ["-v", "error", *RECORDING, "-an", "-map_metadata", "0", "-map_metadata", "0:s:a:0"]
_UNESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LINE = re.compile(r"((?:\\.|[^\\=\n;#])+)=((?:\\.|[^\\\n])*)(?:\n|$)", re.DOTALL)


@dataclass(frozen=True)
class Tags:
    """The tags that are carried into results, and the file name of the recording.

    They are None where they are unknown.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    filename: str | None = None

    def completed(self, filename: str) -> "Tags":
        """With the file name, and a title and an artist from one like "Artist - Title.mp3"."""
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


NO_TAGS = Tags()


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


def _parsed(text: str) -> dict[str, str]:
    """The values of ffmpeg's metadata format, up to its first section."""
    head = text.partition("\n[")[0]
    known: dict[str, str] = {}
    for name, value in _LINE.findall(head):
        plain = " ".join(_UNESCAPED.sub(r"\1", value).split())
        printable = "".join(letter for letter in plain if letter.isprintable())
        if printable:
            known.setdefault(_UNESCAPED.sub(r"\1", name).lower(), printable[:MAX_CHARACTERS])
    return known
