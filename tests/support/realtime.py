"""OpenAI's Realtime API, as its Python client speaks to it."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import soxr
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection

from studio.transcription.engine import RATE_HZ, Speech
from tests.support.openai_audio import KEY
from tests.support.server import Server

PCM_HZ = 24_000
CHUNK_S = 0.1
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@contextmanager
def connected(server: Server) -> Iterator[RealtimeConnection]:
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        assert connection.recv().type == "session.created"
        yield connection


def configure(connection: RealtimeConnection, **sound: Any) -> Any:
    session: Any = {"type": "transcription", "audio": {"input": sound}}
    connection.session.update(session=session)
    event = connection.recv()
    assert event.type == "session.updated", event
    return event


def pieces(speech: Speech) -> list[str]:
    """Base64 of 0.1 s each, 16-bit PCM at 24 kHz."""
    resampled = soxr.resample(speech, RATE_HZ, PCM_HZ)
    data = (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
    size = round(2 * CHUNK_S * PCM_HZ)
    return [
        base64.b64encode(data[start : start + size]).decode() for start in range(0, len(data), size)
    ]


def say(connection: RealtimeConnection, speech: Speech, pause_s: float = 0.0) -> None:
    for piece in pieces(speech):
        connection.input_audio_buffer.append(audio=piece)
        time.sleep(pause_s)


def until_completed(connection: RealtimeConnection, count: int) -> list[Any]:
    """The events up to the completion of so many items."""
    events: list[Any] = []
    while sum(event.type == f"{TRANSCRIPTION}.completed" for event in events) < count:
        events.append(connection.recv())
        assert events[-1].type != "error", events[-1]
    return events


def texts_of(events: list[Any]) -> list[str]:
    return [event.transcript for event in events if event.type == f"{TRANSCRIPTION}.completed"]
