"""Settings of the Realtime API that change only after an utterance."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from simple_websocket import ConnectionClosed

from studio.concurrency import ConcurrencyLimit
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.live.scheduler import Scheduler
from studio.web.compat.openai.realtime.channel import Channel
from studio.web.compat.openai.realtime.connection import Connection
from studio.web.live.server import Live
from tests.support.hearing import LIMITS
from tests.support.realtime import pieces
from tests.support.speech import MINI, Spoken


class Scripted:
    """The channel of a client that sends some events, then leaves."""

    def __init__(self, events: Iterator[dict[str, Any]]) -> None:
        self._events = events
        self.received: list[dict[str, Any]] = []

    def receive(self) -> str:
        for event in self._events:
            return json.dumps(event)
        raise ConnectionClosed

    def send(self, text: str) -> None:
        self.received.append(json.loads(text))

    def notify_shutdown(self, is_stopping: bool) -> None:
        pass

    def close(self) -> None:
        pass


def test_an_update_that_has_become_impossible_is_an_error(
    recording: Spoken, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.symlink_to(MINI / "ctranslate2")
    catalogue = WhisperCatalogue(MINI, tmp_path, tmp_path, FASTER_WHISPER)
    live = Live(Scheduler(NotImplemented, ConcurrencyLimit(1, 0)), LIMITS, "mini", catalogue)

    def events() -> Iterator[dict[str, Any]]:
        for piece in pieces(recording.part(0, 1)[:16_000]):
            yield {"type": "input_audio_buffer.append", "audio": piece}
        yield update(model="own")
        own.unlink()
        yield {"type": "input_audio_buffer.clear"}
        yield update(model="mini")

    channel = Scripted(events())
    Connection(live, "whisper-1", lambda: False).serve(cast(Channel, channel))
    sent = [event for event in channel.received if "input_audio_buffer" not in event["type"]]
    assert [event["type"] for event in sent] == ["session.created", "error", "session.updated"]
    assert sent[1]["error"]["code"] == "model_not_found"
    assert sent[2]["session"]["audio"]["input"]["transcription"]["model"] == "mini"


def test_the_language_is_detected_again_if_it_is_null(tmp_path: Path) -> None:
    catalogue = WhisperCatalogue(MINI, tmp_path, tmp_path, FASTER_WHISPER)
    live = Live(Scheduler(NotImplemented, ConcurrencyLimit(1, 0)), LIMITS, "base", catalogue)
    connection = Connection(live, "whisper-1", lambda: False)
    session = connection.session
    session.language = "de"
    seen: list[str | None] = []

    def events() -> Iterator[dict[str, Any]]:
        for transcription in ({"prompt": "Zoo"}, {"language": None}, {"prompt": "Zoo"}):
            yield update(**transcription)
            seen.append(session.language)
            session.language = session.language or "cy"

    connection.serve(cast(Channel, Scripted(events())))
    assert seen == ["de", None, "cy"]


def update(**transcription: str | None) -> dict[str, Any]:
    sound = {"transcription": transcription}
    return {"type": "session.update", "session": {"audio": {"input": sound}}}
