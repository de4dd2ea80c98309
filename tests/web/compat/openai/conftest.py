"""A server for OpenAI's clients, its Python client, and speech to send."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from studio.transcription.engine import RATE_HZ
from tests.support.openai_audio import KEY, OTHER, client_of
from tests.support.server import Server
from tests.support.sounds import write_wav
from tests.support.speech import Spoken, write_speech


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("openai"),
        WHISPER_MODEL="mini",
        SEPARATION_ENGINE="torch",
        API_KEYS=f"{KEY},{OTHER}",
        LIVE_WAITING_S=5,
        LIVE_SESSIONS=3,
        LIVE_CLIENT_SESSIONS=2,
    )
    server.start()
    yield server
    server.stop_later()


@pytest.fixture(scope="package")
def client(server: Server) -> Iterator[OpenAI]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="package")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of many windows, so that there are segments long before the job has ended."""
    return write_speech(tmp_path_factory.mktemp("speech") / "long.wav", times=12, rate_hz=8000)


@pytest.fixture(scope="package")
def short(tmp_path_factory: pytest.TempPathFactory, recording: Spoken) -> Path:
    """The first sentence of the recording."""
    path = tmp_path_factory.mktemp("speech") / "short.wav"
    return write_wav(path, recording.part(0, 1)[None], RATE_HZ)
