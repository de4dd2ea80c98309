"""Detects truncation and encryption of MP4 and M4A files, which ffmpeg does not report."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from studio.audio.sound import SPARE_SHARE

MAX_BOXES = 1_000_000
MAX_INDEX_BYTES = 64 << 20
# Sample entries of encrypted audio: Common Encryption, iTunes, Audible.
ENCRYPTED = (b"enca", b"drms", b"aavd")
_BOXES = (
    b"ftyp,styp,free,skip,wide,pdin,moov,moof,mdat,mfra,sidx,ssix,meta,udta,uuid,emsg,prft,pnot,PICT"
).split(b",")


def is_mp4(container: str) -> bool:
    """Whether ffmpeg's container name is that of MP4 and related formats."""
    return container.startswith("mov,")


class Layout:
    """The boxes of a file. `index` is the content of the box `moov`, empty if there is none.

    `is_cut` means that a box extends beyond the end of the file. `is_open` means that the last box
    extends to the end of the file by definition, or that the file consists of fragments without an
    index at the end.
    """

    def __init__(self, path: Path) -> None:
        self.index = b""
        self.is_cut = self.is_open = False
        size = path.stat().st_size
        with path.open("rb") as file:
            for name, start, end, is_last in _boxes(file, size):
                if name in (b"moov", b"mdat", b"moof"):
                    self.is_cut |= end - size > SPARE_SHARE * (end - start)
                self.is_open = name == b"moof" or is_last or (self.is_open and name != b"mfra")
                if name == b"moov" and end - start <= MAX_INDEX_BYTES:
                    file.seek(start)
                    self.index = file.read(end - start)
        self.is_cut |= _last_chunk(self.index) >= size

    @property
    def is_encrypted(self) -> bool:
        entries = _find(self.index, b"mdia", b"minf", b"stbl", b"stsd")
        return entries[12:16] in ENCRYPTED


def _boxes(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, content start and end of each box, and whether it declares no length.

    A box that is shorter than its own header ends the list: it is not one, or the file is damaged.
    """
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or head[4:8] not in _BOXES:
            return
        length, name = struct.unpack(">I4s", head[:8])
        start = at + 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], at + 16
        end = size if length == 0 else at + length
        if end < start:
            return
        yield name, start, end, length == 0
        if end >= size:
            return
        at = end


def _find(index: bytes, *names: bytes) -> bytes:
    """The content of a box in the first audio track."""
    for track in _children(index, b"trak"):
        handler = next(_children(next(_children(track, b"mdia"), b""), b"hdlr"), b"")
        if handler[8:12] == b"soun":
            content = track
            for name in names:
                content = next(_children(content, name), b"")
            return content
    return b""


def _children(content: bytes, name: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(content):
        length = struct.unpack_from(">I", content, at)[0]
        if length < 8:
            return
        if content[at + 4 : at + 8] == name:
            yield content[at + 8 : at + length]
        at += length


def _last_chunk(index: bytes) -> int:
    """The file offset of the last chunk of the audio track; -1 if the index has none."""
    for name, kind in ((b"stco", ">u4"), (b"co64", ">u8")):
        table = _find(index, b"mdia", b"minf", b"stbl", name)[8:]
        offsets = np.frombuffer(table[: len(table) // int(kind[2]) * int(kind[2])], kind)
        if offsets.size:
            return int(offsets.max())
    return -1
