"""The Socket.IO namespace `/transcribe` keeps the contract of docs/protocol.md behind gunicorn."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st
from socketio.exceptions import ConnectionError as RefusedError
from wsproto.events import BytesMessage, Ping, TextMessage

from studio.transcription.engine import RATE_HZ
from studio.web.messages import CutOff
from tests.support.hearing import silence
from tests.support.live_client import NAMESPACE, Client, chunk, open_sessions, pcm
from tests.support.server import Server, ffmpeg_children, until
from tests.support.speech import Spoken

SECOND = pcm(silence(1.0))


@pytest.fixture(params=["websocket", "polling"])
def client(live_server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(live_server, request.param) as client:
        assert client.socket.transport() == request.param
        yield client


@pytest.fixture
def speaker(live_server: Server) -> Iterator[Client]:
    with Client(live_server) as speaker:
        speaker.greeting()
        yield speaker


def test_the_service_greets_with_settings_and_limits(client: Client) -> None:
    """The greeting is no event of the reserved name `connect`, which would end the connection."""
    assert client.greeting() == {
        "message": "Connected to transcription service",
        "protocol": 1,
        "settings": {
            "variant": "mini",
            "language": None,
            "prompt": "",
            "hotwords": "",
            "interim_results": True,
            "words": True,
            "endpointing_ms": 500,
        },
        "limits": {
            "sessions": 8,
            "sessions_of_a_client": 0,
            "waiting_s": 60,
            "silence_s": 1,
            "length_s": 14_400,
            "idle_s": 120,
            "chunk_bytes": 524_288,
        },
    }


def test_silence_is_acknowledged_and_sends_nothing(client: Client) -> None:
    client.greeting()
    for number in range(1, 4):
        data = base64.b64encode(SECOND).decode() if number == 2 else SECOND
        answer = client.call("audio", chunk(data, None if number == 3 else "audio/pcm;rate=16000"))
        assert answer == {"received_s": number, "decoded_s": number, "waiting_s": 0.0}
    ((event, summary),) = client.finish()
    assert event == "finished"
    assert summary == {
        "text": "",
        "segments": 0,
        "audio_s": 3.0,
        "decoding_s": 0.0,
        "language": None,
    }


def test_the_same_connection_is_used_again(client: Client) -> None:
    client.greeting()
    before = client.socket.get_sid(NAMESPACE)
    for seconds in (1, 2):
        for _ in range(seconds):
            client.emit("audio", chunk(SECOND))
        ((_, summary),) = client.finish()
        assert summary["audio_s"] == seconds
    assert client.socket.get_sid(NAMESPACE) == before


def test_much_may_come_at_once(client: Client) -> None:
    """A client that polls then sends many packets in one request."""
    client.greeting()
    for _ in range(100):
        client.emit("audio", chunk(pcm(silence(0.1))))
    ((_, summary),) = client.finish()
    assert summary["audio_s"] == 10.0


BAD = {
    "no payload": ({}, "bad_audio"),
    "no data": ({"payload": {"mimeType": "audio/pcm"}}, "bad_audio"),
    "a text": ("text", "bad_audio"),
    "nothing": (None, "bad_audio"),
    "bytes": (b"\x00\xff", "bad_audio"),
    "a list": ([1, 2], "bad_audio"),
    "no base64": (chunk("*"), "bad_audio"),
    "a number": (chunk(7), "bad_audio"),
    "a file": (chunk(b"\x1a\x45\xdf\xa3" + bytes(1000)), "bad_audio"),
    "another encoding": (chunk(b"", "audio/pcm;encoding=mulaw"), "unknown_mime_type"),
    "another kind": (chunk(b"", "audio/mpeg"), "unknown_mime_type"),
    "a kind that is no text": ({"payload": {"data": b"", "mimeType": 1}}, "unknown_mime_type"),
    "too large": (chunk(bytes(600_000)), "chunk_too_large"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_chunk_gets_one_error_and_the_session_goes_on(speaker: Client, name: str) -> None:
    message, code = BAD[name]
    speaker.emit("audio", chunk(SECOND))
    answer = speaker.call("audio", message)
    event, error = speaker.next()
    assert (event, error["code"]) == ("error", code)
    assert len(error["message"]) > 20
    assert answer["error"] == error
    assert answer["received_s"] == 1.0
    assert speaker.call("audio", chunk(SECOND))["received_s"] == 2.0
    ((_, summary),) = speaker.finish()
    assert summary["audio_s"] == 2.0


def test_a_chunk_may_end_within_a_sample(speaker: Client) -> None:
    for size in (1, 31_998, 3, 31_998):
        assert "error" not in speaker.call("audio", chunk(bytes(size)))
    assert speaker.finish()[-1][1]["audio_s"] == 2.0


@pytest.mark.parametrize("more", [(1,), (1, 2), (None, {"a": 1}, b"x", [])])
def test_extra_arguments_are_ignored(
    speaker: Client, live_server: Server, more: tuple[Any, ...]
) -> None:
    before = live_server.log.read_text()
    assert speaker.call("audio", (chunk(SECOND), *more))["received_s"] == 1.0
    assert speaker.call("keepalive", more)["received_s"] == 1.0
    assert "error" not in speaker.call("configure", ({"words": False}, *more))
    assert speaker.next()[1]["settings"]["words"] is False
    assert speaker.call("finish", more)["received_s"] == 1.0
    assert speaker.next()[0] == "finished"
    assert "Traceback" not in live_server.log.read_text().removeprefix(before)


@pytest.mark.parametrize("name", ["connect", "disconnect", "error", "no_such_event", "", 5, None])
def test_what_is_no_event_does_no_harm(
    speaker: Client, live_server: Server, name: str | int | None
) -> None:
    """Official clients send no event with a reserved name; others can."""
    before = live_server.log.read_text()
    speaker.emit("audio", chunk(SECOND))
    for data in ([], [{"token": "x"}], ["client disconnect"], [1, 2, 3]):
        event = socketio.packet.Packet(
            socketio.packet.EVENT, data=[name, *data], namespace=NAMESPACE
        )
        speaker.socket._send_packet(event)
    assert speaker.call("audio", chunk(SECOND))["received_s"] == 2.0
    ((_, summary),) = speaker.finish()
    assert summary["audio_s"] == 2.0
    assert "Traceback" not in live_server.log.read_text().removeprefix(before)


# Of a message, the server reads as much as LIVE_WAITING_S of sound takes.
READ_BYTES = 60 * 32_000


@pytest.mark.parametrize("size", [READ_BYTES - 1000, READ_BYTES + 1000, 5 * READ_BYTES])
@pytest.mark.parametrize("is_binary", [False, True], ids=["base64", "binary"])
def test_a_message_that_is_too_large_is_reported_and_the_session_goes_on(
    client: Client, size: int, is_binary: bool
) -> None:
    client.greeting()
    assert client.call("audio", chunk(SECOND))["received_s"] == 1.0
    data: bytes | str = (
        bytes(size) if is_binary else base64.b64encode(bytes(size * 3 // 4)).decode()
    )
    client.emit("audio", chunk(data))
    event, error = client.next()
    assert (event, error["code"]) == ("error", "chunk_too_large")
    assert "Send" in error["message"]
    assert client.call("audio", chunk(SECOND))["received_s"] == 2.0
    ((_, summary),) = client.finish()
    assert summary["audio_s"] == 2.0


def test_a_request_beyond_all_bounds_is_reported(live_server: Server) -> None:
    with Client(live_server, "polling") as client:
        client.greeting()
        client.emit("audio", chunk(bytes(20 << 20)))
        assert client.until("error")[-1][1]["code"] == "chunk_too_large"


@given(
    sizes=st.lists(st.lists(st.integers(0, 150), min_size=1, max_size=5), max_size=6),
    is_text=st.booleans(),
)
def test_no_more_of_a_message_is_kept_than_the_bound(sizes: list[list[int]], is_text: bool) -> None:
    """Each message comes in fragments; those that fit are whole."""
    kind: Any = TextMessage if is_text else BytesMessage
    piece: Any = "x" if is_text else b"x"
    sent = [
        kind(piece * size, message_finished=number == len(message) - 1)
        for message in sizes
        for number, size in enumerate(message)
    ]
    events = iter([Ping(), *sent])
    passed: list[Any] = list(CutOff(lambda: events, 100)())
    assert isinstance(passed.pop(0), Ping)
    assert [one.message_finished for one in passed] == [one.message_finished for one in sent]
    for message in sizes:
        kept = [len(passed.pop(0).data) for _ in message]
        assert sum(kept) == min(sum(message), 100)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_session_leaves_a_line_at_its_start_and_its_end(
    live_server: Server, transport: str
) -> None:
    with Client(live_server, transport) as client:
        client.greeting()
        sid = client.socket.get_sid(NAMESPACE)
        for _ in range(2):
            client.call("audio", chunk(SECOND))
            client.call("audio", chunk("*"))
            client.until("error")
            client.finish()

    def lines() -> list[str]:
        log = live_server.log.read_text().splitlines()
        return [line for line in log if f"live session {sid} of 127.0.0.1" in line]

    until(lambda: len(lines()) == 2)
    first, last = lines()
    assert first.split(" [")[0].endswith(" started")
    assert re.search(
        r" ended \([\w ]+\) after \d+\.\d s: 2\.0 s of audio, 0 segments, 0\.0 s of ", last
    )
    assert "2 errors" in last


def test_settings_are_changed_and_echoed(client: Client) -> None:
    client.greeting()
    wanted = {"language": "en", "words": False, "endpointing_ms": 300, "hotwords": "Sierra"}
    client.emit("configure", wanted)
    event, answer = client.next()
    assert event == "configured"
    assert answer["settings"] == {
        **{"variant": "mini", "prompt": "", "interim_results": True},
        **wanted,
    }
    client.emit("configure")
    assert client.next()[1]["settings"] == answer["settings"]


@pytest.mark.parametrize(
    ("message", "code", "names"),
    [
        ({"endpointing_ms": 5}, "invalid_setting", "endpointing_ms"),
        ({"colour": "red"}, "invalid_setting", "colour"),
        ({"prompt": "x" * 100_000}, "invalid_setting", "prompt"),
        ("text", "invalid_setting", "object"),
        ([1], "invalid_setting", "object"),
        ({"variant": "enormous"}, "unknown_variant", "mini"),
    ],
)
def test_wrong_settings_are_refused(speaker: Client, message: Any, code: str, names: str) -> None:
    answer = speaker.call("configure", message)
    event, error = speaker.next()
    assert (event, error["code"]) == ("error", code)
    assert names in error["message"]
    assert len(error["message"]) < 500
    assert answer["error"] == error
    speaker.emit("configure", {})
    assert speaker.next()[0] == "configured"


@pytest.mark.parametrize("mime_type", ["audio/webm;codecs=opus", "audio/ogg"])
def test_what_is_no_recording_is_told_and_a_new_one_may_begin(
    speaker: Client, mime_type: str
) -> None:
    speaker.emit("audio", chunk(b"no recording" * 1000, mime_type))
    speaker.emit("finish")
    events = speaker.until("finished")
    assert {name for name, _ in events} == {"error", "finished"}
    assert {data["code"] for name, data in events if name == "error"} == {"bad_audio"}
    assert speaker.call("audio", chunk(SECOND))["received_s"] == 1.0
    assert ffmpeg_children() == []


def test_a_broken_recording_costs_no_chunk_of_the_next(speaker: Client) -> None:
    speaker.emit("audio", chunk(b"no recording" * 1000, "audio/webm;codecs=opus"))
    answer = speaker.call("audio", chunk(SECOND))
    assert answer["error"]["code"] == "bad_audio"
    assert answer["received_s"] == 1.0
    assert speaker.call("audio", chunk(SECOND))["received_s"] == 2.0


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
    server.stop()


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
        assert client.call("audio", chunk(SECOND))["error"]["code"] == "session_too_long"
        assert client.finish()[-1][1]["audio_s"] == 10.0
        assert client.call("audio", chunk(SECOND))["received_s"] == 1.0


def test_who_sends_nothing_is_told_and_disconnected(strict: Server) -> None:
    with Client(strict) as silent, Client(strict) as alive:
        silent.greeting()
        alive.greeting()
        events: list[tuple[str, Any]] = []
        while not events or events[-1][0] != "disconnect":
            alive.call("keepalive")
            if not silent.events.empty():
                events.append(silent.next())
        assert [name for name, _ in events] == ["error", "disconnect"]
        assert events[0][1]["code"] == "idle"
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


def test_a_variant_that_is_not_here_is_told(live_server: Server, recording: Spoken) -> None:
    """`tiny` would have to be downloaded; the connection goes on with another variant."""
    with Client(live_server) as client:
        client.greeting()
        client.emit("configure", {"variant": "tiny", "interim_results": False})
        assert client.next()[0] == "configured"
        client.say(recording.part(0, 1), RATE_HZ)
        events = client.finish()
        assert [(name, data["code"]) for name, data in events[:-1]] == [
            ("error", "weights_missing")
        ]
        client.emit("configure", {"variant": "mini"})
        assert client.next()[0] == "configured"
