"""Wrong and unusual events of `/transcribe`: each gets an error, and the session goes on."""

import resource
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import socketio

from studio.transcription.engine import RATE_HZ
from tests.support.hearing import silence
from tests.support.live_client import NAMESPACE, Client, chunk, pcm
from tests.support.server import Server
from tests.support.sounds import ffmpeg_children
from tests.support.speech import Spoken

SECOND = pcm(silence(1.0))


@pytest.fixture
def speaker(live_server: Server) -> Iterator[Client]:
    with Client(live_server) as speaker:
        speaker.greeting()
        yield speaker


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


@pytest.mark.parametrize(
    ("message", "code", "names"),
    [
        ({"endpointing_ms": 5}, "invalid_setting", "endpointing_ms"),
        ({"colour": "red"}, "invalid_setting", "colour"),
        ({"prompt": "x" * 100_000}, "invalid_setting", "prompt"),
        ("text", "invalid_setting", "object"),
        ([1], "invalid_setting", "object"),
        ({"variant": "enormous"}, "unknown_variant", "mini"),
        ({"language": "German"}, "invalid_option", "'de'"),
        ({"variant": "base.en", "language": "fr"}, "invalid_option", "'fr'"),
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


def test_an_unexpected_error_is_told(speaker: Client, live_server: Server) -> None:
    """The process cannot open another file, so no decoder starts."""
    (worker,) = psutil.Process(live_server.pid).children()
    before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        answer = speaker.call("audio", chunk(b"no recording", "audio/webm;codecs=opus"))
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)
    assert answer["error"]["code"] == "internal_error"
    assert answer["received_s"] == 0.0
    assert speaker.next() == ("error", answer["error"])
    assert speaker.call("audio", chunk(SECOND))["received_s"] == 1.0


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
