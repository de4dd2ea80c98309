"""The Socket.IO namespace `/transcribe` keeps the contract of docs/protocol.md behind gunicorn."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.events import BytesMessage, Ping, TextMessage

from studio.web.live.messages import CutOff
from tests.support.hearing import silence
from tests.support.live_client import NAMESPACE, Client, chunk, pcm
from tests.support.server import Server, until

SECOND = pcm(silence(1.0))


@pytest.fixture(params=["websocket", "polling"])
def client(live_server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(live_server, request.param) as client:
        assert client.socket.transport() == request.param
        yield client


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
