"""What the tests of hostile files share: builders of such files, and what must come of each."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from studio import audio
from studio.audio.child import LATE
from studio.errors import StudioError
from tests.support.in_process import application
from tests.support.problems import BOUNDARY, FORM, assert_sentence, part
from tests.support.sounds import RATE_HZ, convert, ffmpeg_children, noise, write_wav

# Endings that may be uploaded, with how ffmpeg makes a small file of each.
KINDS: dict[str, tuple[str, ...]] = {
    "wav": (),
    "mp3": ("-b:a", "64k"),
    "flac": (),
    "m4a": ("-c:a", "aac", "-b:a", "64k"),
    "ogg": ("-c:a", "libvorbis"),
    "alac.m4a": ("-c:a", "alac"),
    "opus.ogg": ("-c:a", "libopus", "-b:a", "32k"),
}
TAKEN = "taken"
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def make_kinds(folder: Path, seconds: float) -> dict[str, Path]:
    """A sound in each of KINDS, named `song.<kind>`."""
    wav = write_wav(folder / "song.wav", noise(seconds))
    made = {
        kind: convert(wav, folder / f"song.{kind}", *KINDS[kind]) for kind in KINDS if kind != "wav"
    }
    return {"wav": wav, **made}


def examined(path: Path, rates: Iterable[tuple[int, int]] = ((RATE_HZ, 2),)) -> str:
    """What comes of a file: the code of the error, or TAKEN once it was decoded as jobs do.

    An error names a plain reason that is not the lack of time, and what is taken has sound, all of
    it finite and about as much as was found.
    """
    try:
        found = audio.probe(path)
        for rate_hz, channels in rates:
            samples = 0
            for block in audio.decode(path, rate_hz, channels, found.duration_s):
                assert block.shape[0] == channels and np.isfinite(block).all()
                samples += block.shape[1]
            assert 0 < samples <= (1.02 * found.duration_s + 2.0) * rate_hz + audio.BLOCK_SAMPLES
    except StudioError as error:
        assert error.status < 500, error.sentence
        assert error.sentence != LATE
        assert_sentence(error.sentence, "")
        assert str(path.parent) not in error.sentence
        return error.code
    finally:
        assert ffmpeg_children() == []
    return TAKEN


def open_door(folder: Path, **settings: Any) -> Iterator[FlaskClient]:
    """A client of the application in this process, with folders of its own.

    At the end nothing may be left of uploads on their way.
    """
    with (
        application(folder, RATE_LIMIT="", RATE_LIMIT_WORK="", **settings) as app,
        app.test_client() as client,
    ):
        yield client
    assert list((folder / "uploads" / ".incoming").iterdir()) == []
    assert ffmpeg_children() == []


def send(door: FlaskClient, content: bytes, name: str) -> TestResponse:
    """Upload a file. Nothing that is refused may leave anything behind."""
    body = part(name, content) + f"--{BOUNDARY}--\r\n".encode()
    answer = door.post("/upload", data=body, headers=FORM)
    assert answer.status_code == 201 or 400 <= answer.status_code < 500, answer.text
    return answer


def _ogg_checksum(page: bytes) -> int:
    """The CRC of Ogg: that of zlib with all bits in the other order, beginning with 0."""
    backwards = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{backwards:032b}"[::-1], 2)


def ogg_page(
    flags: int, granule: int, serial: int, number: int, lengths: bytes, body: bytes
) -> bytes:
    """A page of Ogg (RFC 3533) with its checksum; `lengths` are those of its segments."""
    head = b"OggS\0" + struct.pack("<BqIIIB", flags, granule, serial, number, 0, len(lengths))
    page = bytearray(head + lengths + body)
    page[22:26] = struct.pack("<I", _ogg_checksum(bytes(page)))
    return bytes(page)


def ogg_pages(content: bytes) -> Iterator[tuple[int, int, int, int, bytes, bytes]]:
    """The pages of an Ogg file, as `ogg_page` takes them."""
    at = 0
    while at < len(content):
        flags, granule, serial, number, _, count = struct.unpack_from("<BqIIIB", content, at + 5)
        lengths = content[at + 27 : at + 27 + count]
        body = content[at + 27 + count : at + 27 + count + sum(lengths)]
        yield flags, granule, serial, number, lengths, body
        at += 27 + count + len(body)


def ogg_packet(flags: int, serial: int, number: int, packet: bytes) -> bytes:
    """One packet of any length in as many pages as it needs, none of which ends a granule."""
    laces = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    pages: list[bytes] = []
    for first in range(0, len(laces), 255):
        lengths = laces[first : first + 255]
        body = packet[255 * first : 255 * first + sum(lengths)]
        is_last = first + 255 >= len(laces)
        more = 0 if first == 0 else 1
        granule = 0 if is_last else -1
        pages.append(ogg_page(flags | more, granule, serial, number + len(pages), lengths, body))
    return b"".join(pages)


def box(name: bytes, *content: bytes) -> bytes:
    """A box of MP4."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


def find_box(content: bytes, *names: bytes) -> tuple[int, int]:
    """Where a box lies inside of others: its beginning and its end."""
    start, end = 0, len(content)
    for name in names:
        at = start
        while content[at + 4 : at + 8] != name:
            at += struct.unpack_from(">I", content, at)[0]
            assert at < end, name
        start, end = at + 8, at + struct.unpack_from(">I", content, at)[0]
    return start - 8, end


def with_box(content: bytes, names: tuple[bytes, ...], new: bytes) -> bytes:
    """An M4A whose index is its last box, with a box inside of it replaced."""
    for depth in range(len(names), 0, -1):
        start, end = find_box(content, *names[:depth])
        if depth == len(names):
            grown = len(new) - (end - start)
            changed = content[:start] + new + content[end:]
        else:
            length = struct.pack(">I", end - start + grown)
            changed = changed[:start] + length + changed[start + 4 :]
    return changed


def wav_header(
    rate_hz: int = RATE_HZ,
    channels: int = 2,
    bits: int = 16,
    data_bytes: int = 8820,
    code: int = 1,
    bytes_per_s: int | None = None,
    frame_bytes: int | None = None,
) -> bytes:
    """The header of a WAV with any values."""
    frame = channels * bits // 8 if frame_bytes is None else frame_bytes
    per_s = rate_hz * frame if bytes_per_s is None else bytes_per_s
    form = struct.pack(
        "<HHIIHH", code & 0xFFFF, channels & 0xFFFF, rate_hz & 0xFFFFFFFF, per_s & 0xFFFFFFFF,
        frame & 0xFFFF, bits & 0xFFFF,
    )  # fmt: skip
    riff_bytes = (36 + data_bytes) & 0xFFFFFFFF
    return (
        b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", data_bytes & 0xFFFFFFFF)
    )  # fmt: skip


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    """An ID3v2.4 tag with frames."""
    body = b"".join(name + _synchsafe(len(data)) + b"\0\0" + data for name, data in frames)
    return b"ID3\x04\0\0" + _synchsafe(len(body)) + body


def _synchsafe(value: int) -> bytes:
    return bytes((value >> shift) & 0x7F for shift in (21, 14, 7, 0))


def flac_block(kind: int, body: bytes, is_last: bool = False) -> bytes:
    """A metadata block of FLAC."""
    return struct.pack(">I", (kind | (128 if is_last else 0)) << 24 | len(body)) + body


def flac_with(content: bytes, *blocks: bytes) -> bytes:
    """A FLAC with more metadata blocks right after its first one."""
    first = 8 + 34
    assert content[:4] == b"fLaC"
    return b"fLaC" + b"\0" + content[5:first] + b"".join(blocks) + content[first:]
