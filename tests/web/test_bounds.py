"""What one client may take: slots for uploads, seconds of sound, jobs, connections, sessions."""

import json
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websocket
from flask import Flask, request
from socketio.exceptions import ConnectionError

from studio.web.live.sockets import STRANGERS_PER_NETWORK
from studio.web.receiving import body_bytes
from studio.web.services import MAX_WAITING, MAX_WAITING_PER_CLIENT
from tests.support.keys import ANN, BOB
from tests.support.live_client import Client, open_sessions
from tests.support.problems import FORM, assert_problem, left_on, part
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

SLOW: dict[str, Any] = {"shifts": 20, "overlap": 0.9}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("bounded"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
        MAX_UPLOADS=2,
        MAX_CLIENT_JOBS=2,
        MAX_DURATION_S=10,
        MAX_DECODED_BYTES=1_000_000,
        LIVE_CLIENT_SESSIONS=2,
    )
    yield server.start(application="tests.support.unhurried:create_app()")
    server.stop_later()


@pytest.fixture(scope="module")
def short_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As long as an upload may be; its slow job takes a while."""
    path = tmp_path_factory.mktemp("short") / "song.wav"
    return write_wav(path, noise(9.0, 1, 8_000), 8_000)


@pytest.fixture(scope="module")
def endless_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So long that its slow job never ends by itself in a test."""
    path = tmp_path_factory.mktemp("endless") / "song.wav"
    return write_wav(path, np.tile(noise(10.0, 1, 8_000), 15), 8_000)


def test_uploads_at_the_same_time(bounded: Server, tmp_path: Path) -> None:
    """Two half-sent uploads hold both slots; a third is refused until one of them ends."""
    song = write_wav(tmp_path / "song.wav", noise(1.0, channels=1))
    head = (
        f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n"
        f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
    ).encode()
    with ExitStack() as slow:
        for _ in range(2):
            sender = slow.enter_context(socket.create_connection(("127.0.0.1", bounded.port)))
            sender.sendall(head + part("song.wav", b"RIFF" + bytes(300_000)))
        until_incoming(bounded, 2)
        with open(song, "rb") as file:
            answer = bounded.post("/upload", files={"file": file})
        body = assert_problem(answer, "too_many_uploads", "2 uploads")
        assert answer.headers["Retry-After"] == str(body["retry_after_s"])
    until_incoming(bounded, 0)
    assert bounded.upload(song)


def until_incoming(server: Server, count: int) -> None:
    until(lambda: len(list((server.uploads / ".incoming").iterdir())) == count)


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "channels", "allowed"),
    [
        (9.0, 8_000, 1, True),
        (11.0, 8_000, 1, False),
        # 1,000,000 bytes are 5.2 s at 48 kHz mono, and 1.3 s with four channels.
        (5.0, 48_000, 1, True),
        (6.0, 48_000, 1, False),
        (2.0, 48_000, 4, False),
    ],
)
def test_seconds_and_decoded_bytes(
    bounded: Server, tmp_path: Path, seconds: float, rate_hz: int, channels: int, allowed: bool
) -> None:
    song = write_wav(tmp_path / "song.wav", noise(seconds, channels, rate_hz), rate_hz)
    before = left_on(bounded)
    with open(song, "rb") as file:
        answer = bounded.post("/upload", files={"file": file})
    if allowed:
        assert answer.status_code == 201
    else:
        assert_problem(answer, "audio_too_long", f"{seconds:.0f} s")
        assert left_on(bounded) == before


def test_jobs_of_one_client(bounded: Server, short_song: Path) -> None:
    files = [bounded.upload(short_song) for _ in range(3)]
    for file_id in files[:2]:
        assert bounded.process(file_id, **SLOW).status_code == 202
    answer = bounded.process(files[2], **SLOW)
    body = assert_problem(answer, "too_many_jobs", "You have 2 unfinished jobs")
    assert answer.headers["Retry-After"] == str(body["retry_after_s"])
    assert bounded.process(files[0], **SLOW).status_code == 202  # that one is known
    assert bounded.post(f"/cancel/{files[0]}").status_code == 200
    assert bounded.process(files[2], **SLOW).status_code == 202
    for file_id in files:
        bounded.delete(f"/cleanup/{file_id}")


def test_jobs_and_sessions_are_counted_by_key(
    tmp_path: Path, weights: Path, short_song: Path
) -> None:
    server = Server(
        tmp_path,
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
        MAX_CLIENT_JOBS=1,
        LIVE_CLIENT_SESSIONS=1,
        API_KEYS=f"{ANN},{BOB}",
    ).start()
    try:
        answers = []
        for key in (ANN, ANN, BOB):
            headers = {"X-API-Key": key}
            with open(short_song, "rb") as file:
                sent = server.post("/upload", files={"file": file}, headers=headers)
            path = f"/process/demucs/{sent.json()['file_id']}"
            answers.append(server.post(path, json=SLOW, headers=headers).status_code)
        assert answers == [202, 429, 202]
        with (
            Client(server, auth={"token": ANN}),
            Client(server, auth={"token": BOB}),
            pytest.raises(ConnectionError, match="too_many_sessions"),
        ):
            Client(server, auth={"token": ANN})
    finally:
        server.kill()


def test_websockets_that_join_nothing_are_few(bounded: Server) -> None:
    """They hold threads of the server: the oldest ends when one more comes."""
    address = f"ws://127.0.0.1:{bounded.port}/socket.io/?EIO=4&transport=websocket"
    with ExitStack() as idle:
        opened = []
        for _ in range(STRANGERS_PER_NETWORK + 1):
            one = websocket.create_connection(address, timeout=30, suppress_origin=True)
            idle.callback(one.shutdown)
            assert str(one.recv()).startswith("0{")
            opened.append(one)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            while opened[0].recv():
                pass
            raise websocket.WebSocketConnectionClosedException
        assert bounded.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("clients", "per_client", "waiting_count"),
    [(1, 80, MAX_WAITING_PER_CLIENT), (6, MAX_WAITING_PER_CLIENT, MAX_WAITING)],
    ids=["one-client", "six-clients"],
)
def test_answers_that_are_waited_for_are_few(
    server: Server, endless_song: Path, clients: int, per_client: int, waiting_count: int
) -> None:
    """Requests beyond the limits are answered at once. Without keys, a client is an address."""
    file_id = server.upload(endless_song)
    assert server.process(file_id, **SLOW).status_code == 202
    ask = f"GET /status/{file_id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    count = clients * per_client
    with ExitStack() as waiting, selectors.DefaultSelector() as answered:
        for number in range(count):
            source = (f"127.0.0.{1 + number % clients}", 0)
            one = waiting.enter_context(
                socket.create_connection(("127.0.0.1", server.port), source_address=source)
            )
            one.sendall(ask)
            answered.register(one, selectors.EVENT_READ)
        assert server.get("/health").status_code == 200
        until(lambda: len(answered.select(1)) >= count - waiting_count)
        assert len(answered.select(1)) == count - waiting_count
        assert server.get(f"/status/{file_id}").json()["status"] in ("queued", "processing")
        server.post(f"/cancel/{file_id}")
        until(lambda: len(answered.select(1)) == count)
    server.delete(f"/cleanup/{file_id}")


def test_clients_that_leave_do_not_wait(server: Server, endless_song: Path) -> None:
    """Their slots are those of other requests of the client, such as transcriptions."""
    file_id = server.upload(endless_song)
    assert server.process(file_id, **SLOW).status_code == 202

    def has_no_place() -> bool:
        code = server.post("/audio-separator/separate").json()["code"]
        assert code in ("too_many_waiting", "unsupported_media_type")
        return bool(code == "too_many_waiting")

    ask = f"GET /status/{file_id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as waiting:
        for _ in range(MAX_WAITING_PER_CLIENT):
            address = ("127.0.0.1", server.port)
            waiting.enter_context(socket.create_connection(address)).sendall(ask)
        until(has_no_place)
    until(lambda: not has_no_place())
    assert server.get(f"/status/{file_id}").json()["status"] in ("queued", "processing")
    server.delete(f"/cleanup/{file_id}")


class Polling:
    """A Socket.IO connection that polls by hand."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._path = "/socket.io/?EIO=4&transport=polling"
        self.answer = server.get(self._path)
        self.sid = json.loads(self.answer.text[1:])["sid"] if self.answer.ok else ""
        self._hanging: list[socket.socket] = []

    def hang(self, transport: str = "polling", head: str = "") -> socket.socket:
        """Poll, or ask for a WebSocket, and do not wait for the answer."""
        one = socket.create_connection(("127.0.0.1", self._server.port), timeout=60)
        one.sendall(
            f"GET /socket.io/?EIO=4&transport={transport}&sid={self.sid} HTTP/1.1\r\n"
            f"Host: localhost\r\n{head}\r\n".encode()
        )
        self._hanging.append(one)
        return one

    def close(self) -> None:
        if self.sid:
            self._server.post(f"{self._path}&sid={self.sid}", data="1")
        for one in self._hanging:
            one.close()


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def test_polling_connections_that_join_nothing_are_few(bounded: Server) -> None:
    """More than the server has threads: the last ones poll, and all else goes on."""
    with ExitStack() as idle:
        answers = []
        for _ in range(40):
            one = Polling(bounded)
            idle.callback(one.close)
            answers.append(one.answer.status_code)
            if one.sid:
                one.hang()
        assert set(answers) == {200}
        assert bounded.get("/health").status_code == 200
    with Client(bounded, "polling") as client:
        client.greeting()


@pytest.mark.parametrize(
    ("transport", "head"), [("polling", ""), ("websocket", UPGRADE)], ids=["polls", "upgrades"]
)
def test_a_connection_hangs_on_one_request_of_a_kind(
    bounded: Server, transport: str, head: str
) -> None:
    one = Polling(bounded)
    assert one.sid
    with selectors.DefaultSelector() as arrived:
        answers = {one.hang(transport, head): b"" for _ in range(41)}
        for request in answers:
            arrived.register(request, selectors.EVENT_READ)

        def refused() -> int:
            for key, _ in arrived.select(0.1):
                request = key.fileobj
                assert isinstance(request, socket.socket)
                received = request.recv(4096)
                answers[request] += received
                if not received:
                    arrived.unregister(request)
            return sum(b"still being answered" in answer for answer in answers.values())

        try:
            until(lambda: refused() == 40)
            assert bounded.get("/health").status_code == 200
            assert refused() == 40
        finally:
            one.close()


def test_a_websocket_that_never_came_about_ends_with_its_connection(bounded: Server) -> None:
    one = Polling(bounded)
    waiting = one.hang("websocket", UPGRADE)
    assert waiting.recv(4096).startswith(b"HTTP/1.1 101 ")
    one.sid, sid = "", one.sid
    bounded.post(f"/socket.io/?EIO=4&transport=polling&sid={sid}", data="1")
    while waiting.recv(4096):
        pass
    one.close()


def test_live_sessions_of_one_client(bounded: Server) -> None:
    with Client(bounded) as first, Client(bounded) as second:
        assert first.greeting()["limits"]["sessions_of_a_client"] == 2
        second.greeting()
        for transport in ("websocket", "polling"):
            with pytest.raises(ConnectionError, match="2 open live sessions"):
                Client(bounded, transport)
    until(lambda: open_sessions(bounded) == 0)
    with Client(bounded) as again:
        again.greeting()


def test_a_request_does_not_keep_its_body() -> None:
    """One that waits for its job would keep 40 MB for as long."""
    body = b"x" * 1000
    with Flask("test").test_request_context("/", method="POST", data=body):
        assert body_bytes() == body
        assert body not in vars(request).values()
