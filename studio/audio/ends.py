"""Looks whether the end of a recording is there, where ffmpeg does not tell.

ffmpeg knows how much sound an MP3 with a Xing header and a FLAC should hold. Of other files it
tells how long something in them lasts, which may be a picture or the time before the sound.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import IO

from studio.audio import mp4

MAX_CHUNKS = 1000
# Programs that write a WAV into a pipe leave 2 or 4 GiB in its header, in several spellings.
NO_LENGTH_BYTES = 0x7FFF0000
# Less than this may be missing: some programs count wrong by a few samples.
SPARE_S = 0.15
MAX_BYTES_PER_S = 192_000 * 8 * 8
MAX_PAGE_BYTES = 27 + 255 + 255 * 255
LAST_PAGE = 0x04
_PAGE = b"OggS\0"
# Formats of a WAV.
_INTEGERS, _EXTENSIBLE = 1, 0xFFFE
# A chunk of Wave64 has a GUID for a name, and counts its own head.
_W64_HEAD_BYTES = 24
_W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")


class End(Enum):
    """Whether a recording is whole, cut off, or does not say where it ends."""

    WHOLE = 1
    CUT = 2
    UNKNOWN = 3


def end_of(path: Path, container: str) -> End | None:
    """How a file of one of ffmpeg's containers ends; None where ffmpeg knows better."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        match container.partition(",")[0]:
            case "wav":
                return _end_of_wav(file, size_bytes)
            case "w64":
                return _end_of_w64(file, size_bytes)
            case "ogg":
                return _end_of_ogg(file, size_bytes)
            case "mov":
                return _end_of_mp4(path)
    return None


def _end_of_wav(file: IO[bytes], size_bytes: int) -> End:
    """Compare the length of the chunk `data` with what is there."""
    form = file.read(12)[:4]
    if form not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return End.UNKNOWN
    order = ">" if form == b"RIFX" else "<"
    long_bytes, bytes_per_s = 0, 0
    for name, length, start, body in _chunks(file, order):
        if name == b"ds64" and len(body) >= 16:
            long_bytes = struct.unpack_from("<Q", body, 8)[0]
        elif name == b"fmt " and len(body) >= 16:
            bytes_per_s = _bytes_per_s(body, order)
        elif name == b"data":
            promised = long_bytes or length
            missing = start + promised - size_bytes
            if promised == 0 or (missing > 0 and not long_bytes and length >= NO_LENGTH_BYTES):
                break
            return End.CUT if missing > SPARE_S * bytes_per_s else End.WHOLE
    return End.UNKNOWN


def _chunks(file: IO[bytes], order: str) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Name, length and start of the chunks of a WAV, and of the small ones how they begin."""
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", head)
        start = file.tell()
        yield name, length, start, file.read(40) if name in (b"ds64", b"fmt ") else b""
        file.seek(start + length + length % 2)


def bits_of_integers(path: Path) -> int | None:
    """The bits that a sample of a little-endian WAV of integers takes; None for other files."""
    with path.open("rb") as file:
        if file.read(12)[:4] not in (b"RIFF", b"RF64", b"BW64"):
            return None
        for name, _, _, body in _chunks(file, "<"):
            if name == b"fmt " and len(body) >= 16:
                tag, channels, _, _, frame_bytes, _ = struct.unpack_from("<HHIIHH", body)
                is_integer = tag == _INTEGERS or (tag == _EXTENSIBLE and body[24:26] == b"\1\0")
                return 8 * frame_bytes // channels if is_integer and channels else None
    return None


def _end_of_w64(file: IO[bytes], size_bytes: int) -> End:
    """The same for Wave64, whose chunks begin at multiples of 8 bytes."""
    bytes_per_s = 0
    start = 2 * _W64_HEAD_BYTES - 8
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(_W64_HEAD_BYTES)
        if len(head) < _W64_HEAD_BYTES:
            break
        name, length = struct.unpack("<16sQ", head)
        if name == b"fmt " + _W64_REST and len(body := file.read(16)) == 16:
            bytes_per_s = _bytes_per_s(body, "<")
        elif name == b"data" + _W64_REST:
            if not _W64_HEAD_BYTES < length < 1 << 62:
                break
            missing = start + length - size_bytes
            return End.CUT if missing > SPARE_S * bytes_per_s else End.WHOLE
        start += max(_W64_HEAD_BYTES, length + -length % 8)
        if start > size_bytes:
            break
    return End.UNKNOWN


def _bytes_per_s(body: bytes, order: str) -> int:
    return int(min(struct.unpack_from(f"{order}I", body, 8)[0], MAX_BYTES_PER_S))


def _end_of_mp4(path: Path) -> End | None:
    """Whether all boxes are there. Fragments without an index of them may go on or not."""
    layout = mp4.Layout(path)
    if layout.is_cut:
        return End.CUT
    return End.UNKNOWN if layout.is_open or not layout.index else End.WHOLE


def _end_of_ogg(file: IO[bytes], size_bytes: int) -> End:
    """Look at the last page: whether it is complete, and marked as the last one."""
    file.seek(max(0, size_bytes - 2 * MAX_PAGE_BYTES))
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
