"""Agents use the same commands on a server."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mcp import Client

from models import FORMATS, OPTIONS
from studio.cli.remote import Api, open_remote
from studio.settings.values import AUDIO_FILE_TYPES, MORE_FILE_TYPES
from tests.support.agents import content, with_agent
from tests.support.listening import listening
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, noise, write_wav
from tests.support.speech import RECORDING

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server that requires a key."""
    server = Server(
        tmp_path_factory.mktemp("guarded"),
        API_KEYS=KEY,
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
    ).start()
    yield server
    server.stop_later()


def test_the_same_tools_run_on_a_server(tmp_path: Path, weights: Path, guarded: Server) -> None:
    (tmp_path / "songs").mkdir()
    write_wav(tmp_path / "songs" / "歌.wav", noise(0.5))
    (tmp_path / "songs" / os.fsdecode(b"br\xf6ken.wav")).write_bytes(b"no audio")
    recording = str(RECORDING)
    beat = np.pad(noise(0.1), ((0, 0), (0, RATE_HZ // 2 - RATE_HZ // 10)))
    beats = str(write_wav(tmp_path / "beats.wav", np.tile(beat, 20)))

    async def act(client: Client) -> None:
        order = {"path": "songs", "output": "stems", "karaoke": True, "format": "flac"}
        for _ in ("first", "again"):
            answer = content(await client.call_tool("separate", order))
            assert (answer["done"], answer["failed"]) == (1, 1)
        failed, done = answer["sources"]
        assert (failed["source"][-10:], failed["code"]) == ("br?ken.wav", "not_audio")
        assert [soundfile.info(path).frames for path in done["outputs"]] == [22_050, 22_050]
        assert {Path(path).name for path in done["outputs"]} == {"vocals.flac", "instrumental.flac"}
        heard = await client.call_tool("transcribe", {"path": recording, "output": str(tmp_path)})
        assert len(content(heard)["text"].split()) > 10
        arguments = {"path": beats, "output": str(tmp_path), "chords": False, "format": "flac"}
        analysed = content(await client.call_tool("analyse", arguments))
        names = ["beats.analysis.json", "beats.click.flac"]
        assert analysed["sources"][0]["outputs"] == [str(tmp_path / name) for name in names]
        found = json.loads((tmp_path / names[0]).read_text("utf-8"))
        assert found["tempo_bpm"] == pytest.approx(120, rel=0.01)
        assert soundfile.info(tmp_path / names[1]).format == "FLAC"

    with_agent(act, tmp_path, weights, MCP_SERVER=guarded.url, MCP_KEY=KEY)
    uploads = [path for path in guarded.uploads.iterdir() if not path.name.startswith(".")]
    assert uploads == []


def test_a_server_takes_the_files_that_this_machine_takes(guarded: Server) -> None:
    with open_remote(guarded.url, KEY, OPTIONS, FORMATS) as backend:
        assert backend.models.file_types_of("whisper") == AUDIO_FILE_TYPES | MORE_FILE_TYPES
        assert backend.models.file_types_of("musicgen") == {"txt"}


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[tuple[Api, list[bytes]]]:
    """A server that gives these answers in turn, and the bodies of its requests."""
    remaining, bodies = iter(answers), []

    class Scripted(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            status, text = next(remaining)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.do_GET()

    with listening(Scripted) as port, closing(Api(f"http://127.0.0.1:{port}", "")) as api:
        yield api, bodies


def test_a_server_whose_database_is_away_for_a_moment_is_asked_again() -> None:
    """A proxy in front of it may also report that it is down."""
    away = json.dumps({"code": "storage_unavailable", "error": "The database does not respond."})
    with answering((503, away), (503, "<h1>No server</h1>"), (200, '{"n": 1}')) as (api, _):
        assert api.get_with_retries("/status/0") == {"n": 1}


def test_work_waits_for_the_rate_limit_of_a_server() -> None:
    """An upload that was refused is sent again, whole."""
    refusal = json.dumps({"code": "too_many_requests", "error": "Retry after 1 s."})
    with (
        answering((429, refusal), (429, refusal), (200, '{"n": 1}')) as (api, bodies),
        open(RECORDING, "rb") as file,
    ):
        assert api.send("POST", "/upload", files={"file": ("voice.wav", file)}) == {"n": 1}
    assert [RECORDING.read_bytes() in body for body in bodies] == [True] * 3


def test_a_server_that_refuses_or_cannot_be_reached_is_named(
    tmp_path: Path, weights: Path, guarded: Server
) -> None:
    song = str(write_wav(tmp_path / "song.wav", noise(0.5)))

    async def refused(client: Client) -> None:
        answer = content(await client.call_tool("separate", {"path": song}))
        assert answer["code"] == "unauthorized"

    async def away(client: Client) -> None:
        answer = content(await client.call_tool("separate", {"path": song}))
        assert answer["code"] == "server_unreachable"
        assert "http://127.0.0.1:9" in answer["error"]

    with_agent(refused, tmp_path, weights, MCP_SERVER=guarded.url)
    with_agent(away, tmp_path, weights, MCP_SERVER="http://127.0.0.1:9")
