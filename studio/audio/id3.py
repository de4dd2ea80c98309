"""ID3v2.3 tags for MP3 files: libsndfile writes only ID3v1, with 30 characters."""

import shutil
from pathlib import Path

from studio.audio.replacing import replacing
from studio.audio.tags import Tags

_UTF_16 = b"\x01"
# The end of a content type, the kind of picture, and an empty description.
_FRONT_COVER = b"\0\x03\0"


def id3(tags: Tags) -> bytes:
    """The tag that an MP3 file begins with; empty if there is nothing to write."""
    texts = {"TIT2": tags.title, "TPE1": tags.artist, "TALB": tags.album}
    frames = b"".join(
        _frame(name, _UTF_16 + text.encode("utf-16")) for name, text in texts.items() if text
    )
    if tags.picture is not None:
        kind = tags.picture.content_type.encode()
        frames += _frame("APIC", b"\0" + kind + _FRONT_COVER + tags.picture.data)
    return b"ID3\x03\x00\x00" + _syncsafe(len(frames)) + frames if frames else b""


def prepend(path: Path, head: bytes) -> None:
    """Write bytes before the content of a file."""
    if not head:
        return
    with path.open("rb") as source, replacing(path) as longer, longer.open("wb") as target:
        target.write(head)
        shutil.copyfileobj(source, target, 1 << 20)


def _frame(name: str, data: bytes) -> bytes:
    return name.encode() + len(data).to_bytes(4, "big") + bytes(2) + data


def _syncsafe(number: int) -> bytes:
    """A number of 28 bits in four bytes, without the highest bit of each."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
