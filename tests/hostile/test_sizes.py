"""Bombs, forged headers, thousands of streams, heaps of tags: bounded, and told in plain words."""

import itertools
import struct
import subprocess
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from studio import audio
from studio.audio import child as guarded
from studio.audio import probing
from studio.audio.decoding import LONGEST_S
from studio.errors import AudioTooLong, NotAudio
from studio.web import receiving
from tests.support.hostile_files import (
    TAKEN,
    box,
    examined,
    flac_block,
    flac_with,
    id3,
    make_kinds,
    ogg_packet,
    ogg_page,
    ogg_pages,
    open_door,
    send,
    wav_header,
    with_box,
)
from tests.support.sounds import RATE_HZ, convert, ffmpeg_children, noise, write_wav

MIB = 1 << 20
HEAP = b"x" * (64 * MIB)
BOMBS = {
    "opus.ogg": ("-c:a", "libopus", "-b:a", "6k", "-frame_duration", "60"),
    "mp3": ("-b:a", "8k"),
    "flac": (),
}
HOURS = 2


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    yield from open_door(tmp_path_factory.mktemp("door"), MAX_DURATION_S=3600)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = make_kinds(tmp_path_factory.mktemp("kinds"), 0.4)
    return {kind: path.read_bytes() for kind, path in made.items()}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two hours of silence, one more than is taken, in a few megabytes."""
    folder = tmp_path_factory.mktemp("bombs")
    minute = write_wav(folder / "minute.wav", np.zeros((1, 60 * 8000), np.float32), 8000)
    made = {}
    for kind, options in BOMBS.items():
        part = convert(minute, folder / f"minute.{kind}", *options)
        made[kind] = folder / f"bomb.{kind}"
        command = [audio.ffmpeg_path(), "-v", "error", "-stream_loop", str(60 * HOURS - 1)]
        subprocess.run([*command, "-i", str(part), "-c", "copy", str(made[kind])], check=True)
    return made


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_without_being_decoded(
    door: FlaskClient, bombs: dict[str, Path], kind: str
) -> None:
    answer = send(door, bombs[kind].read_bytes(), f"song.{kind}")
    assert answer.get_json()["code"] in ("audio_too_long", "not_audio")
    assert ffmpeg_children() == []


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_that_got_through_ends_where_it_was_found_to(
    bombs: dict[str, Path], kind: str
) -> None:
    samples = 0
    with pytest.raises(NotAudio, match="decodes to more"):
        for block in audio.decode(bombs[kind], RATE_HZ, 2, 5.0):
            samples += block.shape[1]
    assert samples <= 10 * RATE_HZ
    assert ffmpeg_children() == []


@pytest.mark.parametrize("seconds", [0, 2, 100])
def test_a_flac_that_promises_too_little_is_measured(tmp_path: Path, seconds: int) -> None:
    wav = write_wav(tmp_path / "song.wav", noise(120.0, 1, 8000), 8000)
    content = bytearray(convert(wav, tmp_path / "song.flac").read_bytes())
    total = int.from_bytes(content[18:26], "big") >> 36 << 36 | seconds * 8000
    content[18:26] = total.to_bytes(8, "big")
    path = tmp_path / "forged.flac"
    path.write_bytes(content)
    assert audio.probe(path).duration_s == pytest.approx(120.0, abs=0.1)


def test_a_flac_that_promises_too_much_is_cut_off(tmp_path: Path, kinds: dict[str, bytes]) -> None:
    content = bytearray(kinds["flac"])
    content[22:26] = b"\xff\xff\xff\xff"
    (tmp_path / "forged.flac").write_bytes(content)
    assert examined(tmp_path / "forged.flac") == "audio_truncated"


def test_more_than_a_day_is_too_long(
    bombs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its packets are counted no further; an hour stands for the day."""
    path = tmp_path / "days.mp3"
    path.write_bytes(bombs["mp3"].read_bytes() * 2)
    assert LONGEST_S == 24 * 3600
    monkeypatch.setattr(probing, "LONGEST_S", 3600.0)
    with pytest.raises(AudioTooLong, match="more than a day"):
        audio.probe(path)


def test_recordings_that_follow_each_other_are_one(tmp_path: Path, kinds: dict[str, bytes]) -> None:
    """As a radio sends them: each stream of Ogg has its own times."""
    pages = list(ogg_pages(kinds["ogg"]))
    content = b"".join(
        ogg_page(flags, granule, serial, number, lengths, body)
        for serial in range(160)
        for flags, granule, _, number, lengths, body in pages
    )
    path = tmp_path / "radio.ogg"
    path.write_bytes(content)
    assert audio.probe(path).duration_s == pytest.approx(64.0, abs=1.0)
    assert examined(path) == TAKEN


RATES_HZ = [0, 1, 7_999, 8_000, 192_001, 2**31 - 1, 2**32 - 1]
CHANNELS = [0, 1, 9, 255, 65_535]
BITS = [0, 1, 8, 12, 32, 64, 65_535]
LENGTHS = [0, 1, 8_821, 1_000_000, 2**31 - 1, 2**32 - 1]


def forged_wavs() -> Iterator[bytes]:
    """Headers of WAV with each value by itself, and some together."""
    sound = bytes(8820)
    for rate_hz in RATES_HZ:
        yield wav_header(rate_hz=rate_hz) + sound
    for channels in CHANNELS:
        yield wav_header(channels=channels) + sound
    for bits in BITS:
        yield wav_header(bits=bits) + sound
    for data_bytes in LENGTHS:
        yield wav_header(data_bytes=data_bytes) + sound
    for per_s, frame in itertools.product([0, 2**32 - 1], [0, 65_535]):
        yield wav_header(bytes_per_s=per_s, frame_bytes=frame) + sound
    for code in (0, 2, 0x11, 0x55, 0x161, 0xFFFE):
        yield wav_header(code=code) + sound
    yield wav_header(2**32 - 1, 65_535, 65_535, 2**32 - 1) + sound


def test_forged_headers_of_wav(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    outcomes = set()
    for content in forged_wavs():
        path.write_bytes(content)
        outcomes.add(examined(path))
    assert {TAKEN, "audio_unsupported", "not_audio", "audio_truncated"} <= outcomes


@pytest.mark.slow
def test_forged_headers_of_other_kinds(tmp_path: Path, kinds: dict[str, bytes]) -> None:
    """Rate, channels and length of FLAC; of Vorbis and Opus; of an M4A's sound and its tables."""
    path = tmp_path / "song"
    forged = []
    flac = kinds["flac"]
    for value in (0, 2**20 - 1, 1, 0xF_FFFF_FFFF):
        forged.append(flac[:18] + (value << 44 & 2**64 - 1).to_bytes(8, "big") + flac[26:])
        forged.append(flac[:18] + (value | 44_100 << 44).to_bytes(8, "big") + flac[26:])
    for kind, at in (("ogg", 11), ("ogg", 12), ("opus.ogg", 9), ("opus.ogg", 12)):
        first, *rest = ogg_pages(kinds[kind])
        for field in (bytes(4), b"\xff\xff\xff\xff", b"\xff\0\0\0"):
            body = first[5][:at] + field + first[5][at + 4 :]
            pages = [ogg_page(*first[:4], first[4], body), *(ogg_page(*page) for page in rest)]
            forged.append(b"".join(pages))
    m4a = kinds["m4a"]
    for name in (b"mp4a", b"stts", b"stsz", b"stco", b"stsc", b"mdhd", b"mvhd", b"elst"):
        at = m4a.index(name) + 4
        for offset in (4, 12, 16, 24):
            for field in (bytes(4), b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"):
                forged.append(m4a[: at + offset] + field + m4a[at + offset + 4 :])
    outcomes = set()
    for content in forged:
        path.write_bytes(content)
        outcomes.add(examined(path))
    assert outcomes - {TAKEN}


def test_ten_thousand_streams(door: FlaskClient, kinds: dict[str, bytes]) -> None:
    m4a = kinds["m4a"]
    at = m4a.index(b"trak") - 4
    track = m4a[at : at + struct.unpack_from(">I", m4a, at)[0]]
    answer = send(door, with_box(m4a, (b"moov", b"trak"), track * 10_000), "song.m4a")
    assert answer.get_json()["code"] == "not_audio"
    first = next(ogg_pages(kinds["ogg"]))
    heads = [ogg_page(2, 0, serial, 0, *first[4:]) for serial in range(10_000)]
    answer = send(door, b"".join(heads) + kinds["ogg"], "song.ogg")
    assert answer.get_json()["code"] == "not_audio"
    assert ffmpeg_children() == []


def comments(*lines: bytes) -> bytes:
    """Vorbis comments."""
    listed = b"".join(struct.pack("<I", len(line)) + line for line in lines)
    return struct.pack("<I", 1) + b"x" + struct.pack("<I", len(lines)) + listed


def ogg_with_comment(content: bytes, line: bytes) -> bytes:
    """A Vorbis whose second packet, the comments, holds a line of any length."""
    pages = list(ogg_pages(content))
    serial, lengths, body = pages[1][2], pages[1][4], pages[1][5]
    end = next(i for i, length in enumerate(lengths) if length < 255) + 1
    setup = body[sum(lengths[:end]) :]
    made = ogg_packet(0, serial, 1, b"\3vorbis" + comments(line) + b"\1")
    made += ogg_packet(0, serial, 1 + made.count(b"OggS\0"), setup)
    number = 1 + made.count(b"OggS\0")
    rest = [ogg_page(*page[:3], number + i, *page[4:]) for i, page in enumerate(pages[2:])]
    return ogg_page(*pages[0]) + made + b"".join(rest)


def heaps(kinds: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """64 MB of tags or of a cover picture before each kind of sound."""
    png = b"\x89PNG\r\n\x1a\n"
    yield "mp3", id3((b"TXXX", b"\0a\0" + HEAP)) + kinds["mp3"]
    yield "mp3", id3((b"APIC", b"\0image/png\0\3\0" + png + HEAP)) + kinds["mp3"]
    part = 15 * MIB
    picture = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">IIIIII", 0, 1, 1, 24, 0, part)
    yield "flac", flac_with(kinds["flac"], *[flac_block(6, picture + HEAP[:part])] * 4)
    long_comments = flac_block(4, comments(b"TITLE=" + HEAP[:part]))
    yield "flac", flac_with(kinds["flac"], *[long_comments] * 4)
    yield "ogg", ogg_with_comment(kinds["ogg"], b"TITLE=" + HEAP)
    for name, data in (
        (b"covr", struct.pack(">II", 14, 0) + png),
        (b"\xa9cmt", struct.pack(">II", 1, 0)),
    ):
        handler = box(b"hdlr", struct.pack(">IIIIII", 0, 0, 0x6D646972, 0, 0, 0) + b"\0")
        listed = box(b"ilst", box(name, box(b"data", data + HEAP)))
        tags = box(b"udta", box(b"meta", bytes(4), handler, listed))
        yield "m4a", with_box(kinds["m4a"], (b"moov", b"udta"), tags)
    wav = kinds["wav"]
    for name, head in ((b"LIST", b"INFOICMT" + struct.pack("<I", len(HEAP))), (b"id3 ", b"")):
        chunk = name + struct.pack("<I", len(head) + len(HEAP)) + head + HEAP
        yield "wav", wav[:12] + chunk + wav[12:]


@pytest.mark.slow
def test_heaps_of_tags_are_passed_over(tmp_path: Path, kinds: dict[str, bytes]) -> None:
    for number, (kind, content) in enumerate(heaps(kinds)):
        path = tmp_path / f"song.{kind}"
        path.write_bytes(content)
        assert audio.probe(path).duration_s == pytest.approx(0.4, abs=0.05), number
    assert ffmpeg_children() == []


def test_tags_without_end_are_refused(door: FlaskClient, kinds: dict[str, bytes]) -> None:
    lines = id3((b"TXXX", b"\0a\0" + b"\n" * (16 * MIB))) + kinds["mp3"]
    answer = send(door, lines, "song.mp3")
    assert answer.get_json()["code"] == "not_audio"
    assert "tags" in answer.get_json()["error"]


@pytest.mark.slow
def test_tags_that_cost_too_much_time_are_refused(
    tmp_path: Path, kinds: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 tags, each of which is compared with all before it."""
    monkeypatch.setattr(guarded, "START_CPU_S", 1.0)
    path = tmp_path / "song.mp3"
    path.write_bytes(id3(*((b"TXXX", b"\0%d\0x" % i) for i in range(100_000))) + kinds["mp3"])
    with pytest.raises(NotAudio, match="took too long"):
        audio.probe(path)
    assert ffmpeg_children() == []


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, RATE_HZ, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("samples", [1, 30])
def test_a_few_samples_at_any_rate_are_sound(tmp_path: Path, rate_hz: int, samples: int) -> None:
    sound = np.full((2, samples), 0.25, np.float32)
    path = write_wav(tmp_path / "tiny.wav", sound, rate_hz, "FLOAT")
    assert audio.probe(path).duration_s == pytest.approx(samples / rate_hz, abs=1e-6)
    for target_hz, channels in ((RATE_HZ, 2), (16_000, 1)):
        blocks = list(audio.decode(path, target_hz, channels))
        decoded = np.concatenate(blocks, axis=1)
        assert decoded.shape == (channels, max(1, round(samples * target_hz / rate_hz)))
        assert np.abs(decoded - 0.25).max() < 0.3


@pytest.mark.parametrize("kind", ["wav", "ogg", "mp3"])
def test_a_file_that_does_not_tell_its_end_is_taken_with_a_note(
    door: FlaskClient, tmp_path: Path, kinds: dict[str, bytes], kind: str
) -> None:
    """As programs leave it that write into a pipe, or a radio that goes on."""
    content = kinds[kind]
    if kind == "wav":
        at = content.index(b"data") + 4
        content = content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]
    elif kind == "ogg":
        *pages, last = ogg_pages(content)
        open_ended = ogg_page(last[0] & ~4, *last[1:])
        content = b"".join([*(ogg_page(*page) for page in pages), open_ended])
    else:
        wav = write_wav(tmp_path / "song.wav", noise(0.4))
        content = convert(wav, tmp_path / "x.mp3", "-write_xing", "0").read_bytes()
    answer = send(door, content, f"song.{kind}").get_json()
    assert "0.4 s" in answer["note"]
    assert door.get(f"/files/{answer['file_id']}").get_json()["note"] == answer["note"]
    assert send(door, kinds[kind], f"song.{kind}").get_json()["note"] is None


def test_an_edit_is_parsed_last(door: FlaskClient, kinds: dict[str, bytes]) -> None:
    """What is wrong besides the body is told first: a parsed body takes 24 times its size."""
    file_id = send(door, kinds["wav"], "song.wav").get_json()["file_id"]
    for path, headers, code in (
        (f"/files/{'0' * 32}/transcription", {"If-Match": "*"}, "unknown_file"),
        (f"/files/{file_id}/transcription", {"If-Match": "*"}, "not_ready"),
    ):
        answer = door.put(path, data=b"{", headers=headers, content_type="application/json")
        assert answer.get_json()["code"] == code
    url = transcribed(door, file_id)
    for headers, code in (
        ({}, "precondition_required"),
        ({"If-Match": '"old"'}, "precondition_failed"),
        ({"If-Match": "*"}, "invalid_json"),
    ):
        answer = door.put(url, data=b"{", headers=headers, content_type="application/json")
        assert answer.get_json()["code"] == code


def test_edits_are_parsed_one_by_one(
    door: FlaskClient, kinds: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = transcribed(door, send(door, kinds["wav"], "song.wav").get_json()["file_id"])
    meeting = Barrier(2)

    def parsed_json(_data: bytes) -> dict[str, Any]:
        with pytest.raises(BrokenBarrierError):
            meeting.wait(0.5)
        return {"segments": []}

    monkeypatch.setattr(receiving, "parsed_json", parsed_json)

    def put(_: int) -> int:
        with door.application.test_client() as client:
            return client.put(url, json={}, headers={"If-Match": "*"}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(put, range(2))) == [200, 200]


def transcribed(door: FlaskClient, file_id: str) -> str:
    """The address of the transcript of an upload."""
    door.post(f"/process/whisper/{file_id}", json={"model_variant": "mini"})
    assert door.get(f"/status/{file_id}?wait=60").get_json()["status"] == "completed"
    return f"/files/{file_id}/transcription"


@pytest.mark.parametrize("many", [b"[],", b"{},", b"0,", b"["])
def test_json_with_many_values_is_refused_unparsed(door: FlaskClient, many: bytes) -> None:
    """Bodies with audio may be large, but have one long text."""
    body = b'{"input_audio":{"data":"AAAA"},"x":[' + many * (1 << 20) + b"0]}"
    tracemalloc.start()
    try:
        answer = door.post("/v1/audio/transcriptions", data=body, content_type="application/json")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 400
    assert "commas and brackets" in answer.get_json()["error"]["message"]
    assert peak_bytes < 6 * len(body)
