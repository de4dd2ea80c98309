"""The Socket.IO namespace `/transcribe` greets, stays connected, and says what is to come."""

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import requests
import socketio
from socketio.exceptions import ConnectionError as RefusedError

from tests.support import Server

NAMESPACE = "/transcribe"
CHUNK = {"payload": {"data": "AAAA", "mimeType": "audio/pcm;rate=16000"}}


class Client:
    """A client of the official package that notes everything that happens to it."""

    def __init__(self, server: Server, transport: str, **more: Any) -> None:
        self.events: Queue[tuple[str, Any]] = Queue()
        # The WebSocket package adds an Origin of its own, unless it is told not to.
        options = {"suppress_origin": "headers" in more}
        self.socket = socketio.Client(reconnection=False, websocket_extra_options=options)
        self._url = server.url
        for name in ("connect", "disconnect", "connected", "error", "transcription"):
            self.socket.on(name, self._note(name), namespace=NAMESPACE)
        self.socket.connect(
            server.url, namespaces=[NAMESPACE], transports=[transport], wait_timeout=30, **more
        )

    def _note(self, name: str) -> Any:
        return lambda *data: self.events.put((name, data[0] if data else None))

    def next(self) -> tuple[str, Any]:
        return self.events.get(timeout=30)

    def close(self) -> None:
        """End the connection. A polling client that ends itself may first wait for its poll."""
        if self.socket.transport() == "polling":
            query = {"EIO": "4", "transport": "polling", "sid": self.socket.eio.sid}
            requests.post(f"{self._url}/socket.io/", params=query, data="1", timeout=30)
            self.socket.wait()
        self.socket.disconnect()

    def emit(self, event: str, *data: Any) -> None:
        self.socket.emit(event, *data, namespace=NAMESPACE)


@pytest.fixture(params=["websocket", "polling"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client(server, request.param)
    assert client.socket.transport() == request.param
    yield client
    client.close()


def test_the_service_greets(client: Client) -> None:
    """The greeting is no event of the reserved name `connect`, which would end the connection."""
    first, second = client.next(), client.next()
    assert {first[0], second[0]} == {"connect", "connected"}
    greeting = dict([first, second])["connected"]
    assert greeting == {"message": "Connected to transcription service"}


@pytest.mark.parametrize(("event", "data"), [("audio", [CHUNK]), ("finish", [])])
def test_live_transcription_says_that_it_is_to_come(
    client: Client, event: str, data: list[Any]
) -> None:
    assert {client.next()[0], client.next()[0]} == {"connect", "connected"}
    client.emit(event, *data)
    name, error = client.next()
    assert name == "error"
    assert error["code"] == "model_not_implemented"
    assert "not part of this version" in error["message"]


def test_the_connection_stays(client: Client) -> None:
    """One connection is used throughout; the same client does not come again."""
    assert {client.next()[0], client.next()[0]} == {"connect", "connected"}
    before = client.socket.get_sid(NAMESPACE)
    for _ in range(5):
        client.emit("audio", CHUNK)
    assert [client.next()[0] for _ in range(5)] == ["error"] * 5
    assert client.socket.connected
    assert client.socket.get_sid(NAMESPACE) == before
    assert client.events.empty()


def test_what_is_no_chunk_does_no_harm(client: Client) -> None:
    assert {client.next()[0], client.next()[0]} == {"connect", "connected"}
    for data in ([None], ["text"], [b"\x00\xff"], [{"payload": None}], [], [1, 2, 3]):
        client.emit("audio", *[tuple(data)] if len(data) > 1 else data)
        assert client.next()[0] == "error"
    client.emit("no_such_event", {"a": 1})
    client.emit("finish")
    assert client.next()[0] == "error"


def test_clients_do_not_hear_each_other(server: Server) -> None:
    one, other = Client(server, "websocket"), Client(server, "websocket")
    try:
        for client in (one, other):
            assert {client.next()[0], client.next()[0]} == {"connect", "connected"}
        one.emit("audio", CHUNK)
        assert one.next()[0] == "error"
        other.emit("finish")
        assert other.next()[0] == "error"
        assert one.events.empty() and other.events.empty()
    finally:
        one.close()
        other.close()


def test_other_web_pages_are_refused_where_origins_are_set(tmp_path: Path, weights: Path) -> None:
    page = "https://page.example"
    server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="tiny", CORS_ORIGINS=page).start()
    try:
        for transport in ("websocket", "polling"):
            welcome = Client(server, transport, headers={"Origin": page})
            assert {welcome.next()[0], welcome.next()[0]} == {"connect", "connected"}
            welcome.close()
            with pytest.raises(RefusedError):
                Client(server, transport, headers={"Origin": "https://evil.example"})
        allowed = server.get("/health", headers={"Origin": page})
        assert allowed.headers["Access-Control-Allow-Origin"] == page
        other = server.get("/health", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
    finally:
        server.stop()
