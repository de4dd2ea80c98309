"""Limits on live sessions, most of `/transcribe`: their number, length, idle time and origins."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
import websocket
from socketio.exceptions import ConnectionError as RefusedError

from studio.transcription.engine import RATE_HZ
from tests.support.hearing import chunks, silence
from tests.support.live_client import Client, chunk, open_sessions, pcm
from tests.support.server import WAIT_S, Server, until
from tests.support.speech import Spoken

SECOND = pcm(silence(1.0))


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server whose bounds are soon met."""
    server = Server(
        tmp_path_factory.mktemp("strict"),
        MODEL_DIR=weights,
        WHISPER_MODEL="mini",
        LIVE_SESSIONS=2,
        LIVE_LENGTH_S=10,
        LIVE_IDLE_S=10,
        LIVE_CHUNK_BYTES=64_000,
        CORS_ORIGINS="https://page.example",
    )
    server.start()
    yield server
    server.stop_later()


@pytest.fixture
def strict(strict_server: Server) -> Server:
    """The strict server, once the sessions of earlier tests have ended there."""
    until(lambda: open_sessions(strict_server) == 0)
    return strict_server


@contextmanager
def kept_alive(*clients: Client) -> Iterator[None]:
    """However long the rest takes, these sessions are not idle."""
    ended = Event()

    def keep_alive() -> None:
        while not ended.wait(0.5):
            for client in clients:
                client.emit("keepalive")

    thread = Thread(target=keep_alive)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_more_sessions_than_the_bound_are_refused_with_a_sentence(strict: Server) -> None:
    with Client(strict) as one, Client(strict, "polling") as two:
        assert one.greeting()["limits"]["sessions"] == 2
        two.greeting()
        with kept_alive(one, two):
            for transport in ("websocket", "polling"):
                with pytest.raises(RefusedError, match="2 live sessions are open"):
                    Client(strict, transport)
        two.close()
        # An idle session may have ended as well.
        until(lambda: open_sessions(strict) < 2)
        with Client(strict) as three:
            three.greeting()


def test_a_session_has_a_length(strict: Server) -> None:
    with Client(strict) as client:
        client.greeting()
        for _ in range(10):
            assert "error" not in client.call("audio", chunk(SECOND))
        error = client.call("audio", chunk(SECOND))["error"]
        assert error["code"] == "session_too_long"
        assert "`finish`" in error["message"]
        assert client.finish()[-1][1]["audio_s"] == 10.0
        assert client.call("audio", chunk(SECOND))["received_s"] == 1.0


def test_a_session_of_the_realtime_api_ends_after_its_last_words(
    strict: Server, recording: Spoken
) -> None:
    address = strict.url.replace("http", "ws") + "/v1/realtime?intent=transcription"
    opened = websocket.create_connection(address, timeout=WAIT_S, suppress_origin=True)
    sound = {"format": {"type": "audio/pcm", "rate": RATE_HZ}, "turn_detection": None}
    opened.send(json.dumps({"type": "session.update", "session": {"audio": {"input": sound}}}))
    with suppress(ConnectionError):
        for part in chunks(recording.sound[: 12 * RATE_HZ], RATE_HZ):
            audio = base64.b64encode(pcm(part)).decode()
            opened.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    events = []
    while message := opened.recv():
        events.append(json.loads(message))
    opened.shutdown()
    errors = [event["error"] for event in events if event["type"] == "error"]
    assert {error["code"] for error in errors} == {"session_too_long"}
    assert "Connect again" in errors[0]["message"]
    completed = [event for event in events if event["type"].endswith(".completed")]
    assert [event["usage"]["seconds"] for event in completed] == [10]
    assert completed[0]["transcript"]


def test_who_sends_nothing_is_told_and_disconnected(strict: Server) -> None:
    with Client(strict) as silent, Client(strict) as alive:
        silent.greeting()
        alive.greeting()
        with kept_alive(alive):
            events = silent.until("disconnect")
        assert [name for name, _ in events] == ["error", "disconnect"]
        assert events[0][1]["code"] == "idle"
        assert "`keepalive`" in events[0][1]["message"]
        assert alive.socket.connected
        assert alive.events.empty()


def test_other_web_pages_are_refused_where_origins_are_set(strict: Server) -> None:
    for transport in ("websocket", "polling"):
        with Client(strict, transport, headers={"Origin": "https://page.example"}) as welcome:
            welcome.greeting()
        with pytest.raises(RefusedError):
            Client(strict, transport, headers={"Origin": "https://evil.example"})
    allowed = strict.get("/health", headers={"Origin": "https://page.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://page.example"
    other = strict.get("/health", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
