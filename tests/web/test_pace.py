"""Uploads that are too slow end, with a clear error; those that are fast enough do not."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.problems import BOUNDARY, FORM, assert_sentence, left_on, part
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

CHUNKED = "Transfer-Encoding: chunked"
SIZED = "Content-Length: 5000000"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server that judges uploads after 3 s instead of 60 s, and takes two of a client."""
    server = Server(
        tmp_path_factory.mktemp("hasty"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        MAX_CLIENT_UPLOADS=2,
        TRUSTED_PROXIES=1,
    )
    server.start(application="tests.support.hasty:create_app()")
    yield server
    server.stop_later()


def begun(
    server: Server,
    length: str,
    address: str = "10.0.0.1",
    path: str = "/upload",
    content_type: str = FORM["Content-Type"],
    first: bytes = part("song.wav", b"RIFF")[:-2],
) -> socket.socket:
    """An upload of which only the beginning was sent."""
    sender = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n"
    sender.sendall(f"{head}{length}\r\nContent-Type: {content_type}\r\n\r\n".encode())
    sender.sendall(b"%x\r\n%s\r\n" % (len(first), first) if length == CHUNKED else first)
    return sender


def answer_to_a_slow(sender: socket.socket, piece: bytes) -> Any:
    """The JSON with which the server ends an upload whose client goes on with `piece`."""
    answer = b""
    sender.settimeout(0.2)
    ends_s = time.monotonic() + 60
    while not answer.rstrip().endswith(b"}"):
        assert time.monotonic() < ends_s
        try:
            answer += sender.recv(65_536)
        except TimeoutError:
            sender.sendall(piece)
    assert answer.startswith(b"HTTP/1.1 408 ")
    return json.loads(answer[answer.index(b"{") :])


@pytest.mark.parametrize("length", [SIZED, CHUNKED], ids=["sized", "chunked"])
def test_a_slow_upload_is_ended_and_told(hasty: Server, length: str) -> None:
    before = left_on(hasty)
    with begun(hasty, length) as sender:
        body = answer_to_a_slow(sender, b"1\r\nx\r\n" if length == CHUNKED else b"x")
    assert body["code"] == "upload_too_slow"
    assert_sentence(body["error"], "50 kB/s")
    assert left_on(hasty) == before


def test_a_slow_upload_in_json_is_ended_too(hasty: Server) -> None:
    with begun(
        hasty,
        SIZED,
        path="/v1/audio/transcriptions",
        content_type="application/json",
        first=b'{"input_audio": {"data": "',
    ) as sender:
        error = answer_to_a_slow(sender, b"A")["error"]
    assert error["code"] == "upload_too_slow"
    assert_sentence(error["message"], "50 kB/s")


def test_a_steady_upload_is_left_alone(hasty: Server, tmp_path: Path) -> None:
    """It takes longer than the server waits before it judges, at ten times the least speed."""
    song = write_wav(tmp_path / "song.wav", noise(24.0, channels=1)).read_bytes()

    def pieces() -> Iterator[bytes]:
        yield part("song.wav", b"")[:-2]
        for start in range(0, len(song), 250_000):
            yield song[start : start + 250_000]
            time.sleep(0.5)
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    assert hasty.post("/upload", data=pieces(), headers=FORM).status_code == 201


def test_one_client_does_not_take_all_places(hasty: Server, short_wav: Path) -> None:
    def upload(address: str) -> tuple[int, str]:
        headers = {"X-Forwarded-For": address}
        with open(short_wav, "rb") as file:
            answer = hasty.post("/upload", files={"file": file}, headers=headers)
        return answer.status_code, answer.text

    with begun(hasty, SIZED) as first, begun(hasty, SIZED) as second:
        for sender in (first, second):
            # As much as is fast enough for a minute.
            sender.sendall(bytes(3_000_000))
        until(lambda: len(list((hasty.uploads / ".incoming").iterdir())) == 2)
        status, text = upload("10.0.0.1")
        assert status == 429
        assert "2 uploads of yours" in text
        assert upload("10.0.0.2")[0] == 201
