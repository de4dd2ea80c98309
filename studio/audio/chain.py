"""Chained Ogg files: consecutive recordings in one file, such as saved radio streams.

ffmpeg continues with the next recording only if both have the same format, and decodes noise if
only their codebooks differ. Consecutive recordings with the same headers are therefore decoded
together, and all others by separate processes.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from threading import Thread
from typing import IO

from studio.audio.child import Child
from studio.errors import AudioUnsupported

# Each part needs its own ffmpeg process.
MAX_PARTS = 200
MAX_RECORDINGS = 10_000
CHUNK_BYTES = 1 << 20
# Headers of one recording, including comments with a picture.
MAX_HEADER_BYTES = 4 << 20
_PAGE = re.compile(rb"OggS\0[\0-\7]")
_PAGE_BYTES = 6
_FIRST_PAGE = 0x02


@dataclass(frozen=True)
class Part:
    """Recordings of one format: bytes [start, end) of the file. `channels` is 0 if unknown."""

    start: int
    end: int
    channels: int
    recordings: int


def parts_of(path: Path) -> list[Part]:
    """The parts of an Ogg file; empty for other files. Raises AudioUnsupported."""
    parts: list[Part] = []
    last_format = b""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return []
        bounds = chain(_starts(path), [path.stat().st_size])
        for number, (start, end) in enumerate(pairwise(bounds), 1):
            if number > MAX_RECORDINGS:
                raise AudioUnsupported(
                    f"The file consists of more than {MAX_RECORDINGS:,} recordings. Convert it "
                    "first, or split it."
                )
            sound_format, channels = _format_at(file, start, end)
            if parts and sound_format == last_format:
                last = parts.pop()
                parts.append(Part(last.start, end, channels, last.recordings + 1))
            else:
                parts.append(Part(start, end, channels, 1))
            last_format = sound_format
            if len(parts) > MAX_PARTS:
                raise AudioUnsupported(
                    f"The audio changes its format more than {MAX_PARTS} times. Convert the file "
                    "first, or split it."
                )
    return parts


def child_of(arguments: list[str], path: Path, part: Part | None) -> AbstractContextManager[Child]:
    """An ffmpeg process for a file, or for one part of it."""
    return Child(arguments, path) if part is None else _child_of_part(arguments, path, part)


@contextmanager
def _child_of_part(arguments: list[str], path: Path, part: Part) -> Iterator[Child]:
    with Child(arguments, None) as child:
        errors: list[OSError] = []
        feeding = (child, path, part, errors)
        feeder = Thread(target=_feed, args=feeding, name="ogg-part", daemon=True)
        feeder.start()
        try:
            yield child
        finally:
            child.kill()
            feeder.join()
            if errors:
                raise errors[0]


def _feed(child: Child, path: Path, part: Part, errors: list[OSError]) -> None:
    """Send a part of a file; what reading it raised is added to `errors`."""
    left = part.end - part.start
    try:
        with path.open("rb") as file:
            file.seek(part.start)
            while left and (data := file.read(min(left, CHUNK_BYTES))):
                left -= len(data)
                try:
                    child.send(data, patience_s=None)
                except OSError:
                    # ffmpeg has ended; its reader gets the error.
                    return
    except OSError as error:
        errors.append(error)
    finally:
        child.send_end()


def _starts(path: Path) -> Iterator[int]:
    """Yield the offsets of recordings: first pages of streams that follow other pages."""
    yield 0
    rest, offset, after_headers = b"", 0, False
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            data = rest + chunk
            for page in _PAGE.finditer(data):
                is_first = bool(page[0][5] & _FIRST_PAGE)
                if is_first and after_headers:
                    yield offset + page.start()
                after_headers = not is_first
            # A page that is split between chunks is found in the next one; none is found twice.
            rest = data[-(_PAGE_BYTES - 1) :]
            offset += len(data) - len(rest)


def _format_at(file: IO[bytes], start: int, end: int) -> tuple[bytes, int]:
    """The header data that decoding a recording depends on, and its channels."""
    file.seek(start)
    packets = _packets(file.read(min(end - start, MAX_HEADER_BYTES)))
    first = next(packets, b"")
    if first.startswith(b"\x01vorbis") and len(first) > 11:
        setup = next((packet for packet in packets if packet.startswith(b"\x05vorbis")), b"")
        return first + setup, first[11]
    if first.startswith(b"OpusHead") and len(first) > 9:
        return first, first[9]
    if first.startswith(b"\x7fFLAC") and len(first) >= 51:
        sizes, rate = first[17:21], first[27:31]
        return b"FLAC" + sizes + rate[:3] + bytes([rate[3] & 0xF0]), (rate[2] >> 1 & 7) + 1
    if first.startswith(b"Speex   ") and len(first) >= 52:
        return first, min(255, struct.unpack_from("<I", first, 48)[0])
    return first, 0


_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")


def _packets(data: bytes) -> Iterator[bytes]:
    """The packets of the first audio stream."""
    at, wanted, packet = 0, b"", b""
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        serial, segments = data[at + 14 : at + 18], data[at + 26]
        lengths = data[at + 27 : at + 27 + segments]
        body = at + 27 + segments
        if not wanted and data[body : body + 8].startswith(_SOUND):
            wanted = serial
        for length in lengths:
            if serial == wanted:
                packet += data[body : body + length]
                if length < 255:
                    yield packet
                    packet = b""
            body += length
        at = body
