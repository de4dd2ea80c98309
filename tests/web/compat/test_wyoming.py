"""Speech to text over the Wyoming protocol, with its official client."""

import asyncio
import gc
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from app import create_app
from config import Config, ConfigError
from scripts.services.children import free_port
from studio import __version__
from studio.concurrency import ConcurrencyLimit
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web.compat.wyoming import info
from studio.web.compat.wyoming.connection import MAX_DATA_BYTES
from studio.web.compat.wyoming.server import MAX_CONNECTIONS, WyomingServer
from tests.support.server import Server
from tests.support.speech import MAX_WRONG_ELSEWHERE, MINI, Spoken, wrong

READ_TIMEOUT_S = 120.0
# As Home Assistant sends them.
CHUNK_SAMPLES = 1024


def with_client(port: int, act: Callable[[AsyncTcpClient], Awaitable[Any]]) -> Any:
    async def session() -> Any:
        async with AsyncTcpClient("127.0.0.1", port, read_timeout=READ_TIMEOUT_S) as client:
            return await act(client)

    return asyncio.run(session())


async def say(client: AsyncTcpClient, sound: Speech, **request: Any) -> Event | None:
    """Send an utterance as fast as the server takes it; the answer."""
    samples = (sound * 32767).astype("<i2").tobytes()
    await client.write_event(Transcribe(**request).event())
    form = {"rate": RATE_HZ, "width": 2, "channels": 1}
    await client.write_event(AudioStart(**form).event())
    for begin in range(0, len(samples), 2 * CHUNK_SAMPLES):
        audio = samples[begin : begin + 2 * CHUNK_SAMPLES]
        await client.write_event(AudioChunk(**form, audio=audio).event())
    await client.write_event(AudioStop().event())
    return await client.read_event()


def error_in(event: Event | None) -> Error:
    assert event is not None
    assert Error.is_type(event.type), event
    return Error.from_event(event)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A server with the port of the protocol, on which little audio may wait."""
    port = free_port()
    server = Server(
        tmp_path_factory.mktemp("house"),
        WYOMING_PORT=port,
        WHISPER_MODEL="mini",
        LIVE_WAITING_S=5,
        API_KEYS="0123456789abcdef",
    ).start()
    yield server, port
    server.stop_later()


def test_the_client_hears_what_the_server_offers(house: tuple[Server, int]) -> None:
    async def ask(client: AsyncTcpClient) -> Info:
        await client.write_event(Ping(text="anybody?").event())
        pong = await client.read_event()
        assert pong is not None
        assert Pong.from_event(pong).text == "anybody?"
        await client.write_event(Describe().event())
        answer = await client.read_event()
        assert answer is not None
        return Info.from_event(answer)

    [program] = with_client(house[1], ask).asr
    assert (program.name, program.version) == ("audio-studio", __version__)
    first = program.models[0]
    assert (first.name, first.languages, first.installed) == ("mini", ["en"], True)


def test_utterances_become_text(house: tuple[Server, int], recording: Spoken) -> None:
    """Two utterances on one connection, and more audio at once than may wait."""
    sound = recording.part(0, len(recording.sentences))

    async def speak(client: AsyncTcpClient) -> list[Event | None]:
        return [
            await say(client, recording.part(0, 1), language="en-GB"),
            await say(client, sound, name="mini", transcript_names=["Ada"]),
            await say(client, np.zeros(RATE_HZ, np.float32), language="en"),
        ]

    first, second, silence = (
        Transcript.from_event(event) for event in with_client(house[1], speak) if event is not None
    )
    assert wrong(recording.sentences[0], first.text) <= MAX_WRONG_ELSEWHERE
    assert first.language == "en"
    assert wrong(recording.text, second.text) <= MAX_WRONG_ELSEWHERE
    assert silence.text == ""
    house[0].get("/health")
    assert "Wyoming utterance of 127.0.0.1" in house[0].log.read_text()


def test_stereo_at_another_rate_is_understood(house: tuple[Server, int], recording: Spoken) -> None:
    sound = np.repeat(recording.part(0, 1), 2)
    frames = np.repeat((sound * 32767 * 65536).astype("<i4"), 2)

    async def speak(client: AsyncTcpClient) -> Event | None:
        form = {"rate": 2 * RATE_HZ, "width": 4, "channels": 2}
        await client.write_event(AudioStart(**form).event())
        for block in np.array_split(frames, 50):
            await client.write_event(AudioChunk(**form, audio=block.tobytes()).event())
        await client.write_event(AudioStop().event())
        return await client.read_event()

    answer = with_client(house[1], speak)
    assert wrong(recording.sentences[0], Transcript.from_event(answer).text) <= 0.2


@pytest.mark.parametrize(
    ("request_", "code", "named"),
    [
        ({"name": "enormous"}, "unknown_variant", "'enormous'"),
        ({"language": "Klingon"}, "invalid_setting", "'Klingon'"),
        ({"language": "de-AT"}, "invalid_option", "'de'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    bare: int, request_: dict[str, Any], code: str, named: str
) -> None:
    async def ask(client: AsyncTcpClient) -> list[Event | None]:
        await client.write_event(Transcribe(**request_).event())
        return [await client.read_event(), await client.read_event()]

    refused, end = with_client(bare, ask)
    error = error_in(refused)
    assert error.code == code
    assert named in error.text
    assert end is None


def test_too_many_hints_cost_no_utterance(bare: int) -> None:
    async def ask(client: AsyncTcpClient) -> Event | None:
        request = Transcribe(transcript_names=["Ada"] * 200, transcript_terms=["x" * 600])
        await client.write_event(request.event())
        await client.write_event(Ping().event())
        return await client.read_event()

    answer = with_client(bare, ask)
    assert answer is not None and Pong.is_type(answer.type)


LIMITS = Limits(
    sessions=2,
    sessions_of_a_client=1,
    waiting_s=5,
    silence_s=1,
    length_s=10,
    idle_s=60,
    chunk_bytes=MAX_DATA_BYTES,
)


@contextmanager
def silent_server(folder: Path, limits: Limits = LIMITS) -> Iterator[tuple[WyomingServer, int]]:
    """A server in this process, to which nothing is said, and its port."""

    def lease(_variant: str) -> Any:
        raise AssertionError("nothing is said here")

    catalogue = WhisperCatalogue(MINI, folder, folder, FASTER_WHISPER)
    scheduler = Scheduler(lease, ConcurrencyLimit(limits.sessions, limits.sessions_of_a_client))
    server = WyomingServer(info.Speech(scheduler, limits, catalogue, "mini", "1"))
    port = free_port()
    server.start("127.0.0.1", port)
    try:
        yield server, port
    finally:
        server.stop()
        scheduler.stop()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with silent_server(tmp_path_factory.mktemp("none")) as (_, port):
        yield port


def test_clients_that_connect_while_it_stops_leave_no_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda caught: left.append(str(caught.exc_value)))
    for number in range(20):
        with silent_server(tmp_path) as (_, port):
            for _ in range(number % 4):
                socket.create_connection(("127.0.0.1", port)).close()
    gc.collect()
    assert left == []


START = b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n'
CHUNK = b'{"type": "audio-chunk", "data": {"rate": %s, "width": 2, "channels": 1}}\n'


async def answer_to(port: int, data: bytes) -> dict[str, Any]:
    """The data of the only event that answers some bytes, after which the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    received = await asyncio.wait_for(reader.read(), READ_TIMEOUT_S)
    writer.close()
    head, _, body = received.partition(b"\n")
    assert json.loads(head)["type"] == "error"
    answer: dict[str, Any] = json.loads(body)
    return answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "bad_request"),
        (b"[]\n", "bad_request"),
        (b"{}\n", "bad_request"),
        (b'{"type": 1}\n', "bad_request"),
        (b'{"type": "ping", "data": []}\n', "bad_request"),
        (b'{"type": "ping", "data_length": "1"}\n', "bad_request"),
        (b'{"type": "ping", "data_length": 1}\n1', "bad_request"),
        (b"[" * 60_000 + b"\n", "bad_request"),
        (b"x" * 200_000, "bad_request"),
        (b"\xff\xfe\n", "bad_request"),
        (b'{"type": "audio-chunk", "payload_length": 1000000000000}\n', "chunk_too_large"),
        (b'{"type": "audio-chunk"}\n', "bad_request"),
        (b'{"type": "transcribe", "data": {"name": [1]}}\n', "invalid_setting"),
        (b'{"type": "transcribe", "data": {"language": 1}}\n', "invalid_setting"),
        (b'{"type": "transcribe", "data": {"transcript_names": 1}}\n', "invalid_setting"),
        (START + b'{"type": "audio-chunk", "data": {}}\n', "bad_audio"),
        (START + CHUNK % b'"fast"', "bad_audio"),
        (START + CHUNK % b"-1", "unknown_mime_type"),
        (START + CHUNK % b"1000000", "unknown_mime_type"),
        (START + CHUNK % b"16000" + CHUNK % b"8000", "bad_audio"),
    ],
)
def test_what_is_no_event_is_refused(bare: int, data: bytes, code: str) -> None:
    assert asyncio.run(answer_to(bare, data))["code"] == code


@pytest.mark.parametrize(
    "data",
    [b'{"type": "future"}\n', b'{"type": "audio-chunk", "payload_length": 5}\nabc', START],
)
def test_a_silent_connection_is_closed(tmp_path: Path, data: bytes) -> None:
    with silent_server(tmp_path, replace(LIMITS, idle_s=0.3)) as (_, port):
        assert asyncio.run(answer_to(port, data))["code"] == "idle"


def test_an_utterance_may_be_so_long(bare: int) -> None:
    async def speak(client: AsyncTcpClient) -> Event | None:
        return await say(client, np.zeros(11 * RATE_HZ, np.float32))

    async def ignoring_the_end(client: AsyncTcpClient) -> Event | None:
        try:
            return await speak(client)
        except ConnectionError:
            return await client.read_event()

    error = error_in(with_client(bare, ignoring_the_end))
    assert error.code == "session_too_long"
    assert "`audio-stop`" in error.text


def test_a_client_has_few_utterances_and_leaves_its_place(bare: int) -> None:
    async def act() -> None:
        first = await asyncio.open_connection("127.0.0.1", bare)
        first[1].write(START + b'{"type": "ping"}\n')
        assert b"pong" in await first[0].readline()
        assert (await answer_to(bare, START))["code"] == "too_many_sessions"
        first[1].close()
        await first[1].wait_closed()
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", bare)
            writer.write(START + b'{"type": "ping"}\n')
            line = await reader.readline()
            writer.close()
            if b"pong" in line:
                return

    asyncio.run(asyncio.wait_for(act(), READ_TIMEOUT_S))


def test_connections_are_few(bare: int) -> None:
    async def act() -> None:
        opened = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", bare)
            writer.write(b'{"type": "ping"}\n')
            opened.append((reader, writer))
        for reader, _ in opened:
            assert b"pong" in await reader.readline()
        refused = await answer_to(bare, b'{"type": "ping"}\n')
        assert "64 connections" in refused["text"]
        for _, writer in opened:
            writer.close()

    asyncio.run(asyncio.wait_for(act(), READ_TIMEOUT_S))


def test_a_stopped_server_tells_its_clients(tmp_path: Path) -> None:
    with silent_server(tmp_path) as (server, port):

        async def act(client: AsyncTcpClient) -> Event | None:
            await client.write_event(Ping().event())
            assert await client.read_event() is not None
            await asyncio.to_thread(server.stop)
            return await client.read_event()

        assert error_in(with_client(port, act)).code == "server_stopping"
        with pytest.raises(ConnectionRefusedError):
            with_client(port, act)


def test_a_port_in_use_is_named_at_the_start(tmp_path: Path, bare: int) -> None:
    config = Config(UPLOAD_FOLDER=str(tmp_path), OUTPUT_FOLDER=str(tmp_path), WYOMING_PORT=bare)
    with pytest.raises(ConfigError, match=f"WYOMING_PORT={bare} cannot be used"):
        create_app(config)
