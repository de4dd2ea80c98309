"""What clients of `/transcribe` configure."""

from pathlib import Path
from typing import Any

from flask import Flask
from flask_socketio import SocketIO

from studio.concurrency import ConcurrencyLimit
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.live.scheduler import Scheduler
from studio.web.access import Access
from studio.web.live.transcription import PATH, Transcribe
from tests.support.hearing import LIMITS
from tests.support.speech import MINI


def test_the_language_is_detected_again_if_it_is_null(tmp_path: Path) -> None:
    catalogue = WhisperCatalogue(MINI, tmp_path, tmp_path, FASTER_WHISPER)
    scheduler = Scheduler(NotImplemented, ConcurrencyLimit(1, 0))
    socketio = SocketIO(app := Flask(__name__), async_mode="threading", async_handlers=False)
    namespace = Transcribe(
        socketio,
        scheduler,
        LIMITS,
        default="base",
        catalogue=catalogue,
        access=Access(frozenset(), "*"),
    )
    socketio.on_namespace(namespace)
    client = socketio.test_client(app, namespace=PATH)
    try:
        [incoming] = namespace._incoming.values()
        session = incoming.session
        session.language = "de"

        def configured(message: dict[str, Any]) -> str | None:
            client.emit("configure", message, namespace=PATH)
            assert client.get_received(PATH)[-1]["name"] == "configured"
            return session.language

        assert configured({"words": False}) == "de"
        assert configured({"language": None}) is None
        assert configured({"language": "cy"}) == "cy"
        assert configured({"language": None}) is None
    finally:
        client.disconnect(PATH)
        scheduler.stop()
