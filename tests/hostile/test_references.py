"""Playlists and files that name other files or addresses: nothing is opened, nothing is asked."""

import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask.testing import FlaskClient

from studio.audio.child import GUARDS, RECORDING, Child
from tests.support.hostile_files import (
    box,
    examined,
    find_box,
    id3,
    make_kinds,
    open_door,
    send,
    wav_header,
    with_box,
)  # fmt: skip
from tests.support.listening import LOOK_EVERY_S
from tests.support.sounds import noise, write_wav

SECRET = "root:x:0:0"
ENDINGS = ["mp3", "wav", "flac", "m4a", "ogg"]

PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n"
    "#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "m3u8 master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1280000\n{target}\n",
    "m3u8 key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n'
    '#EXT-X-MAP:URI="{target}"\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n',
    "m3u": "#EXTM3U\n#EXTINF:9,song\n{target}\n",
    "pls": "[playlist]\nNumberOfEntries=1\nFile1={target}\nLength1=-1\nVersion=2\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>\n',
    "xspf": '<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>'
    "<track><location>{target}</location></track></trackList></playlist>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio {port} RTP/AVP 0\na=control:{target}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "ffconcat long": "ffconcat version 1.0\nfile {target}\ninpoint 0\noutpoint 9\n" * 50,
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    '<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="9">'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
    "smooth": '<SmoothStreamingMedia MajorVersion="2" Duration="9"><StreamIndex Type="audio" '
    'Url="{target}"/></SmoothStreamingMedia>\n',
    "smil": '<smil><head/><body><audio src="{target}"/></body></smil>\n',
    "cue": 'FILE "{target}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "ram": "{target}\n",
    "reference": "[Reference]\nRef1={target}\nRef2={target}\n",
    "xml entity": '<?xml version="1.0"?><!DOCTYPE p [<!ENTITY s SYSTEM "{target}">]>'
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Title>&s;</Title></MPD>\n',
    "ffmetadata": ";FFMETADATA1\ntitle={target}\n",
}


class Ear(ThreadingHTTPServer):
    """A server on loopback that nobody may ask; it notes who does."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        super().__init__(("127.0.0.1", 0), _Note)
        self.port = self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.heard.append(f"a connection from {client_address}")
        return super().verify_request(request, client_address)


class _Note(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Ear)
        self.server.heard.append(self.path)
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def ear() -> Iterator[Ear]:
    server = Ear()
    thread = Thread(target=server.serve_forever, args=(LOOK_EVERY_S,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    yield from open_door(tmp_path_factory.mktemp("door"))


def targets(ear: Ear, folder: Path) -> list[str]:
    """What a playlist may name: a file of the system, a sound, and addresses."""
    sound = folder / "other.wav"
    http = f"127.0.0.1:{ear.port}/song.wav"
    return [
        *("/etc/passwd", "file:///etc/passwd", str(sound), f"file:{sound}"),
        *(f"http://{http}", f"tcp://127.0.0.1:{ear.port}", f"ftp://{http}"),
        *(f"concat:{sound}|/etc/passwd", f"subfile,,start,0,end,9,,:{sound}", "fd:", "pipe:0"),
        f"cache:http://{http}",
    ]


def playlist(kind: str, target: str, port: int) -> bytes:
    return PLAYLISTS[kind].format(target=target, port=port).encode()


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_refused_under_each_ending(
    door: FlaskClient, ear: Ear, tmp_path: Path, kind: str
) -> None:
    write_wav(tmp_path / "other.wav", noise(0.2))
    chosen = targets(ear, tmp_path)
    for number, ending in enumerate(ENDINGS):
        for target in (chosen[number], chosen[number + 5], chosen[-1]):
            answer = send(door, playlist(kind, target, ear.port), f"list.{ending}")
            assert (answer.status_code, answer.get_json()["code"]) == (400, "not_audio")
            assert SECRET not in answer.text
    assert ear.heard == []


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_that_begins_like_a_sound(ear: Ear, tmp_path: Path, kind: str) -> None:
    """Whatever is taken of it, it is its own bytes."""
    write_wav(tmp_path / "other.wav", noise(60.0, 1, 8000), 8000)
    path = tmp_path / "song.mp3"
    for target in targets(ear, tmp_path)[3:6]:
        text = playlist(kind, target, ear.port)
        for content in (id3() + text, wav_header(data_bytes=len(text)) + text):
            path.write_bytes(content)
            examined(path)
    assert ear.heard == []


@pytest.mark.parametrize("demuxer", ["hls", "concat", "dash", "sdp"])
def test_even_a_demuxer_of_playlists_could_open_nothing(
    ear: Ear, tmp_path: Path, demuxer: str
) -> None:
    """The second wall: with the formats allowed, the protocols are not."""
    write_wav(tmp_path / "other.wav", noise(0.2))
    kind = {"hls": "m3u8", "concat": "ffconcat"}.get(demuxer, demuxer)
    path = tmp_path / "list"
    for target in targets(ear, tmp_path):
        path.write_bytes(playlist(kind, target, ear.port))
        guards = [*GUARDS, "-safe", "0"] if demuxer == "concat" else GUARDS
        command = [*guards, "-f", demuxer, "-fd", "0", "-i", "fd:", "-f", "f32le", "pipe:1"]
        with Child(command, path) as child:
            assert child.receive() == b""
            assert not child.wait()
    assert ear.heard == []


@pytest.mark.parametrize("scheme", ["file:{sound}", "{sound}", "http://127.0.0.1:{port}/song.wav"])
def test_no_protocol_but_the_open_file_is_known(ear: Ear, tmp_path: Path, scheme: str) -> None:
    sound = write_wav(tmp_path / "other.wav", noise(0.2))
    named = scheme.format(sound=sound, port=ear.port)
    with Child([*GUARDS, "-i", named, "-f", "f32le", "pipe:1"], sound) as child:
        assert child.receive() == b""
        assert not child.wait()
        assert child.report.says("not on whitelist")
    with Child([*RECORDING, "-f", "f32le", "pipe:1"], sound) as child:
        assert child.receive() != b""
    assert ear.heard == []


@pytest.mark.parametrize("kind", [b"url ", b"urn ", b"alis"])
@pytest.mark.parametrize("is_local", [True, False])
def test_an_m4a_whose_sound_lies_elsewhere(
    door: FlaskClient, ear: Ear, tmp_path: Path, kind: bytes, is_local: bool
) -> None:
    """Its data reference names another file; without it nothing is left to decode."""
    content = make_kinds(tmp_path, 0.5)["m4a"].read_bytes()
    elsewhere = "file:///etc/passwd" if is_local else f"http://127.0.0.1:{ear.port}/song.m4a"
    entry = box(kind, struct.pack(">I", 0), elsewhere.encode() + b"\0")
    if kind == b"alis":
        entry = box(kind, struct.pack(">I", 0), alias(elsewhere))
    place = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    start, end = find_box(content, *place)
    assert content[start + 4 : start + 8] == b"dref" and end > start
    changed = with_box(content, place, box(b"dref", struct.pack(">II", 0, 1), entry))
    answer = send(door, changed, "song.m4a")
    assert answer.status_code in (201, 400)
    assert SECRET not in answer.text
    path = tmp_path / "changed.m4a"
    path.write_bytes(changed)
    examined(path)
    assert ear.heard == []


def alias(target: str) -> bytes:
    """An alias record of the Macintosh that names a file by its path."""
    name = target.encode()
    record = struct.pack(">IHH", 0, 150 + 4 + len(name), 2) + bytes(142)
    return record + struct.pack(">hH", 2, len(name)) + name + struct.pack(">hH", -1, 0)


def test_tags_that_name_addresses_are_not_followed(
    door: FlaskClient, ear: Ear, tmp_path: Path
) -> None:
    """Links of ID3, among them a cover picture that is an address."""
    address = f"http://127.0.0.1:{ear.port}/cover.png".encode()
    song = make_kinds(tmp_path, 0.5)["mp3"].read_bytes()
    tag = id3(
        (b"WXXX", b"\0\0" + address),
        (b"WOAF", address),
        (b"LINK", b"APIC" + address + b"\0"),
        (b"APIC", b"\0-->\0\3\0" + address),
    )
    assert send(door, tag + song, "song.mp3").status_code == 201
    assert ear.heard == []
