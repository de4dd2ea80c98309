"""Looks whether the end of a recording is there, where ffmpeg does not tell.

ffmpeg knows how much sound an MP3 with a Xing header, a FLAC and an M4A should hold. WAV and Ogg
it takes as far as they go.
"""

import re
import struct
from enum import Enum
from pathlib import Path
from typing import IO

MOST_CHUNKS = 1000
# Programs that write a WAV into a pipe leave 2 or 4 GiB in its header, in several spellings.
NO_LENGTH_BYTES = 0x7FFF0000
# Less than this may be missing: some programs count wrong by a few samples.
SPARE_S = 0.15
MOST_BYTES_PER_S = 192_000 * 8 * 8
LONGEST_PAGE_BYTES = 27 + 255 + 255 * 255
LAST_PAGE = 0x04


CHUNK_BYTES = 1 << 20
_PAGE = b"OggS\0"
_FIRST_PAGE = re.compile(rb"OggS\0[\2\3\6\7]")
_OTHER_PAGE = re.compile(rb"OggS\0[\0\1\4\5]")


class End(Enum):
    """Whether a recording is whole, cut off, or does not say where it ends."""

    WHOLE = 1
    CUT = 2
    UNKNOWN = 3


def end_of(path: Path, container: str) -> End | None:
    """How a file of one of ffmpeg's containers ends; None where this module does not know."""
    with path.open("rb") as file:
        if container == "wav":
            return _end_of_wav(file, path.stat().st_size)
        if container == "ogg":
            return _end_of_ogg(file, path.stat().st_size)
    return None


def _end_of_wav(file: IO[bytes], size_bytes: int) -> End:
    """Compare the length of the chunk `data` with what is there."""
    if file.read(12)[:4] not in (b"RIFF", b"RF64"):
        return End.UNKNOWN
    long_bytes, bytes_per_s = 0, 0
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        start = file.tell()
        body = file.read(16) if name in (b"ds64", b"fmt ") else b""
        if name == b"ds64" and len(body) == 16:
            long_bytes = struct.unpack_from("<Q", body, 8)[0]
        elif name == b"fmt " and len(body) == 16:
            bytes_per_s = min(struct.unpack_from("<I", body, 8)[0], MOST_BYTES_PER_S)
        elif name == b"data":
            promised = long_bytes or length
            missing = start + promised - size_bytes
            if promised == 0 or (missing > 0 and not long_bytes and length >= NO_LENGTH_BYTES):
                break
            return End.CUT if missing > SPARE_S * bytes_per_s else End.WHOLE
        file.seek(start + length + length % 2)
    return End.UNKNOWN


def _end_of_ogg(file: IO[bytes], size_bytes: int) -> End:
    """Look at the last page: whether it is complete, and marked as the last one."""
    file.seek(max(0, size_bytes - 2 * LONGEST_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(_PAGE)
    if at < 0:
        return End.UNKNOWN
    segments = tail[at + 26] if len(tail) > at + 26 else 0
    lengths = tail[at + 27 : at + 27 + segments]
    end = at + 27 + segments + sum(lengths)
    rest = tail[end : end + 4]
    if end > len(tail) or len(lengths) < segments or (rest and b"OggS".startswith(rest)):
        return End.CUT
    return End.WHOLE if tail[at + 5] & LAST_PAGE else End.UNKNOWN


def is_chained(path: Path) -> bool:
    """Whether several recordings follow each other in an Ogg file: a stream begins after others."""
    wanted, rest = _OTHER_PAGE, b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            part = rest + chunk
            found = wanted.search(part)
            if found and wanted is _OTHER_PAGE:
                wanted = _FIRST_PAGE
                found = wanted.search(part, found.end())
            if found:
                return True
            rest = part[-len(_PAGE) :]
    return False
