"""Detects truncated files whose duration ffmpeg does not know.

ffmpeg reports the duration of the audio in FLAC files and in MP3 files with a Xing header. For
other files it reports that of any track, which may be a picture or include the time before the
audio.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from studio.audio import mp4
from studio.audio.sound import SPARE_S

MAX_CHUNKS = 1000
# Programs that write WAV to a pipe leave one of several values near 2 or 4 GiB in the header.
NO_LENGTH_BYTES = 0x7FFF0000
MAX_BYTES_PER_S = 192_000 * 8 * 8
MAX_PAGE_BYTES = 27 + 255 + 255 * 255
# The same for formats whose samples per second are not looked up.
SPARE_BYTES = 1024
LAST_PAGE = 0x04
_PAGE = b"OggS\0"
# WAV format tags.
_INTEGERS, _EXTENSIBLE = 1, 0xFFFE
# Wave64 chunks are named by a GUID, and their size includes the header.
_W64_HEAD_BYTES = 24
_W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")
# The two top-level elements of Matroska and WebM.
_EBML_HEADER, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")


class End(Enum):
    """Whether a recording is complete, truncated, or does not record where it ends."""

    WHOLE = 1
    CUT = 2
    UNKNOWN = 3


def end_of(path: Path, container: str) -> End | None:
    """How a file in one of ffmpeg's containers ends; None if ffmpeg's duration is better."""
    name = container.partition(",")[0]
    if name == "mov":
        return _end_of_mp4(path)
    if name == "mpeg":
        return End.UNKNOWN
    checks: dict[str, Callable[[IO[bytes], int], End]] = {
        "aiff": _end_of_aiff,
        "matroska": _end_of_matroska,
        "ogg": _end_of_ogg,
        "w64": _end_of_w64,
        "wav": _end_of_wav,
    }
    if name not in checks:
        return None
    with path.open("rb") as file:
        return checks[name](file, path.stat().st_size)


@dataclass(frozen=True)
class _Chunk:
    """A chunk of a WAV file. `body` has its first bytes if they describe the samples."""

    name: bytes
    start: int
    length: int
    body: bytes


def _end_of_wav(file: IO[bytes], size_bytes: int) -> End:
    """Compare the declared length of the chunk `data` with the file size."""
    form = file.read(12)[:4]
    if form not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return End.UNKNOWN
    order = ">" if form == b"RIFX" else "<"
    bodies, data = _until_data(_chunks(file, order))
    if data is None:
        return End.UNKNOWN
    long_bytes = struct.unpack_from("<Q", bodies[b"ds64"], 8)[0] if b"ds64" in bodies else 0
    promised = long_bytes or data.length
    missing = data.start + promised - size_bytes
    if promised == 0 or (missing > 0 and not long_bytes and data.length >= NO_LENGTH_BYTES):
        return End.UNKNOWN
    return End.CUT if missing > SPARE_S * _bytes_per_s(bodies, order) else End.WHOLE


def _end_of_w64(file: IO[bytes], size_bytes: int) -> End:
    """The same for Wave64."""
    bodies, data = _until_data(_w64_chunks(file, size_bytes))
    if data is None or not _W64_HEAD_BYTES < data.length < 1 << 62:
        return End.UNKNOWN
    missing = data.start + data.length - size_bytes
    return End.CUT if missing > SPARE_S * _bytes_per_s(bodies, "<") else End.WHOLE


def _until_data(chunks: Iterator[_Chunk]) -> tuple[dict[bytes, bytes], _Chunk | None]:
    """The bodies of the chunks before `data` by name, and that chunk itself."""
    bodies: dict[bytes, bytes] = {}
    for chunk in chunks:
        if chunk.name == b"data":
            return bodies, chunk
        if len(chunk.body) >= 16:
            bodies[chunk.name] = chunk.body
    return bodies, None


def _chunks(file: IO[bytes], order: str) -> Iterator[_Chunk]:
    """The chunks of a WAV file from the current position on."""
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", head)
        start = file.tell()
        yield _Chunk(name, start, length, file.read(40) if name in (b"ds64", b"fmt ") else b"")
        file.seek(start + length + length % 2)


def _w64_chunks(file: IO[bytes], size_bytes: int) -> Iterator[_Chunk]:
    """The chunks of a Wave64 file, which begin at multiples of 8 bytes.

    Start and length include the header. `name` is the first part of the GUID of a WAV chunk.
    """
    start = 2 * _W64_HEAD_BYTES - 8
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(_W64_HEAD_BYTES)
        if len(head) < _W64_HEAD_BYTES:
            return
        guid, length = struct.unpack("<16sQ", head)
        name = guid.removesuffix(_W64_REST)
        yield _Chunk(name, start, length, file.read(16) if name == b"fmt " else b"")
        start += max(_W64_HEAD_BYTES, length + -length % 8)
        if start > size_bytes:
            return


def bits_of_integers(path: Path) -> int | None:
    """The container size of samples in a little-endian integer WAV, in bits; otherwise None."""
    with path.open("rb") as file:
        if file.read(12)[:4] not in (b"RIFF", b"RF64", b"BW64"):
            return None
        bodies = (chunk.body for chunk in _chunks(file, "<") if chunk.name == b"fmt ")
        body = next((body for body in bodies if len(body) >= 16), None)
    if body is None:
        return None
    tag, channels, _, _, frame_bytes, _ = struct.unpack_from("<HHIIHH", body)
    is_integer = tag == _INTEGERS or (tag == _EXTENSIBLE and body[24:26] == b"\1\0")
    return 8 * frame_bytes // channels if is_integer and channels else None


def _bytes_per_s(bodies: dict[bytes, bytes], order: str) -> int:
    """The data rate in the chunk `fmt `; 0 if there is none."""
    if b"fmt " not in bodies:
        return 0
    return int(min(struct.unpack_from(f"{order}I", bodies[b"fmt "], 8)[0], MAX_BYTES_PER_S))


def _end_of_mp4(path: Path) -> End | None:
    """Check that all boxes are complete. Fragments without an index may or may not be."""
    layout = mp4.Layout(path)
    if layout.is_cut:
        return End.CUT
    return End.UNKNOWN if layout.is_open or not layout.index else End.WHOLE


def _end_of_ogg(file: IO[bytes], size_bytes: int) -> End:
    """Check that the last page is complete and marked as the last one."""
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


def _end_of_matroska(file: IO[bytes], size_bytes: int) -> End:
    """Compare the length of the segment with the file size; recorders leave it open."""
    end = 0
    for name in (_EBML_HEADER, _SEGMENT):
        file.seek(end)
        if file.read(4) != name or (length := _vint(file)) is None:
            return End.UNKNOWN
        end = file.tell() + length
    return End.CUT if end > size_bytes else End.WHOLE


def _vint(file: IO[bytes]) -> int | None:
    """A length in EBML: the leading zeros of the first byte count the further bytes; None: open."""
    first = file.read(1)
    more = 8 - first[0].bit_length() if first else 8
    rest = file.read(more)
    if more > 7 or len(rest) < more:
        return None
    bits = 7 * (more + 1)
    value = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value


def _end_of_aiff(file: IO[bytes], size_bytes: int) -> End:
    """Compare the declared length of the chunk `SSND` with the file size."""
    file.seek(12)
    sound = next((chunk for chunk in _chunks(file, ">") if chunk.name == b"SSND"), None)
    if sound is None or not 0 < sound.length < NO_LENGTH_BYTES:
        return End.UNKNOWN
    return End.CUT if sound.start + sound.length - size_bytes > SPARE_BYTES else End.WHOLE
