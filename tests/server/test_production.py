"""The production launcher refuses what is unsafe, gets ready, and stops in an orderly way."""

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import socketio
import websocket

from config import Config
from production import Launcher, refusals, warnings
from tests.support.problems import BOUNDARY, FORM, part, without_network
from tests.support.server import LAUNCHER, ROOT, WAIT_S, Server, until
from tests.support.sounds import noise, write_wav

SAFE: dict[str, Any] = {"SECRET_KEY": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
def launched(tmp_path: Path, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path / "server",
        **SAFE,
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        WHISPER_MODEL="mini",
        SEPARATION_ENGINE="torch",
    )
    server.folder.mkdir()
    yield server
    server.stop()


def folders(folder: Path) -> dict[str, str]:
    return {"UPLOAD_FOLDER": str(folder / "u"), "OUTPUT_FOLDER": str(folder / "o")}


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({}, [["SECRET_KEY", "openssl rand"]]),
        ({"SECRET_KEY": "short"}, [["SECRET_KEY"]]),
        ({"SECRET_KEY": "your-secret-key-change-in-production"}, [["SECRET_KEY"]]),
        ({"SECRET_KEY": "your-secret-key-here-change-this"}, [["SECRET_KEY"]]),
        ({**SAFE, "DEBUG": True}, [["DEBUG"]]),
        ({**SAFE, "UPLOAD_FOLDER": "/proc/uploads"}, [["UPLOAD_FOLDER=/proc/uploads"]]),
        ({**SAFE, "MODEL_DIR": "/proc/weights"}, [["MODEL_DIR=/proc/weights", "chown"]]),
        (SAFE, []),
    ],
)
def test_each_unsafe_setting_is_a_reason(
    settings: dict[str, Any], reasons: list[list[str]], tmp_path: Path
) -> None:
    config = Config(**{"MODEL_DIR": str(tmp_path / "w"), **folders(tmp_path), **settings})
    found = refusals(config)
    assert len(found) == len(reasons)
    for reason, words in zip(found, reasons, strict=True):
        assert all(word in reason for word in words), reason


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"DEBUG": "true", "UPLOAD_FOLDER": "/proc/uploads", "MODEL_DIR": "/proc/weights"},
            ["SECRET_KEY", "DEBUG", "UPLOAD_FOLDER=/proc/uploads", "MODEL_DIR=/proc/weights"],
        ),
        ({**SAFE, "PORT": "none"}, ["PORT='none'"]),
    ],
)
def test_unsafe_settings_are_refused(
    settings: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    """All reasons at once."""
    environment = {name: text for name, text in os.environ.items() if name != "SECRET_KEY"}
    done = subprocess.run(
        LAUNCHER,
        cwd=ROOT,
        env={**environment, **folders(tmp_path), **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr


def test_open_origins_are_warned_of(tmp_path: Path) -> None:
    safe = Config(**SAFE, UPLOAD_FOLDER=str(tmp_path), OUTPUT_FOLDER=str(tmp_path))
    assert refusals(safe) == []
    assert [text.split()[0] for text in warnings(safe)] == [
        "CORS_ORIGINS",
        "API_KEYS",
        "ALLOWED_HOSTS",
    ]
    closed: dict[str, Any] = {
        "CORS_ORIGINS": "https://example.org",
        "API_KEYS": frozenset({"k" * 16}),
    }
    assert warnings(Config(**SAFE, **closed)) == []


def test_it_gets_ready_works_and_puts_its_job_back_when_it_is_stopped(
    launched: Server, tmp_path: Path
) -> None:
    launched.start(command=LAUNCHER)
    assert launched.until_loaded().json()["ready"]
    song = write_wav(tmp_path / "song.wav", noise(30.0))
    file_id = launched.upload(song)
    assert launched.process(file_id, shifts=20).status_code == 202
    until(lambda: launched.get(f"/status/{file_id}").json()["status"] == "processing")
    events: Queue[tuple[str, Any]] = Queue()
    client = socketio.Client(reconnection=False, request_timeout=WAIT_S)
    for name in ("connected", "error"):
        client.on(name, lambda data, name=name: events.put((name, data)), namespace="/transcribe")
    # A message may be lost while a client goes over from polling.
    client.connect(
        launched.url, namespaces=["/transcribe"], transports=["websocket"], wait_timeout=WAIT_S
    )
    assert events.get(timeout=30)[0] == "connected"
    address = launched.url.replace("http", "ws") + "/v1/realtime?intent=transcription"
    speaker = websocket.create_connection(address, timeout=60)
    assert event_of(speaker)["type"] == "session.created"
    speaking = Thread(target=speak, args=(speaker,), daemon=True)
    speaking.start()
    os.kill(launched.pid, signal.SIGTERM)
    name, data = events.get(timeout=60)
    assert (name, data["code"]) == ("error", "server_stopping")
    assert event_of(speaker)["error"]["code"] == "server_stopping"
    speaker.shutdown()
    speaking.join()
    client.disconnect()
    launched.stop()
    assert states(launched) == ["queued"]
    launched.start(command=LAUNCHER)
    until(lambda: launched.get(f"/status/{file_id}").json()["status"] == "processing")
    assert launched.post(f"/cancel/{file_id}").status_code == 200


def states(server: Server) -> list[str]:
    """The states of all jobs of a server that does not run."""
    with closing(sqlite3.connect(server.outputs / ".jobs.sqlite3")) as database:
        return [state for (state,) in database.execute("SELECT state FROM jobs ORDER BY number")]


def event_of(speaker: websocket.WebSocket) -> dict[str, Any]:
    """The next event that a client of the Realtime API receives."""
    event: dict[str, Any] = json.loads(speaker.recv())
    return event


def speak(speaker: websocket.WebSocket) -> None:
    """Send audio without a pause, until the connection ends."""
    audio = base64.b64encode(bytes(4800)).decode()
    event = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
    with suppress(OSError, websocket.WebSocketException):
        while True:
            speaker.send(event)
            time.sleep(0.1)


@pytest.mark.slow
def test_an_upload_that_is_on_its_way_arrives_although_the_server_stops(
    launched: Server, short_wav: Path
) -> None:
    launched.start(command=LAUNCHER)
    body = part("late.wav", short_wav.read_bytes()) + f"--{BOUNDARY}--\r\n".encode()
    head = f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
    incoming = launched.uploads / ".incoming"
    with socket.create_connection(("127.0.0.1", launched.port), timeout=60) as caller:
        caller.sendall(head.encode() + body[: len(body) // 2])
        while not list(incoming.iterdir()):
            time.sleep(0.05)
        os.kill(launched.pid, signal.SIGTERM)
        while "Handling signal: term" not in launched.log.read_text():
            time.sleep(0.05)
        caller.sendall(body[len(body) // 2 :])
        answer = HTTPResponse(caller)
        answer.begin()
        assert answer.status == 201
        file_id = json.loads(answer.read())["file_id"]
    launched.stop()
    launched.start(command=LAUNCHER)
    assert launched.get(f"/files/{file_id}").json()["filename"] == "late.wav"


def test_one_process_has_threads_for_every_session_and_more() -> None:
    launcher = Launcher(Config(**SAFE, LIVE_SESSIONS=50))
    assert launcher.cfg.workers == 1
    assert launcher.cfg.worker_class_str == "gthread"
    assert launcher.cfg.threads > 50
    assert launcher.cfg.worker_connections > launcher.cfg.threads


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_the_address_may_be_of_ipv6(host: str) -> None:
    launcher = Launcher(Config(**SAFE, HOST=host, PORT=8001))
    assert launcher.cfg.address == [(host, 8001)]


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_named(launched: Server) -> None:
    launched.settings["WHISPER_MODEL"] = "small"
    launched.settings["HF_HUB_OFFLINE"] = "1"
    launched.start(command=LAUNCHER)
    answer = launched.until_loaded()
    assert answer.status_code == 503
    assert answer.json()["models"]["demucs/tiny"] == "ready"
    why = answer.json()["models"]["whisper/small"]
    assert "small" in why and why.endswith("The server retries automatically.")


@pytest.mark.slow
def test_a_model_that_comes_later_is_loaded_without_a_restart(
    launched: Server, tmp_path: Path, weights: Path
) -> None:
    """Whether its download fails at first, or somebody forgot to put it there."""
    late = tmp_path / "late"
    launched.settings |= {"MODEL_DIR": str(late), "DEMUCS_MODEL": "htdemucs"}
    launched.settings |= {name: str(text) for name, text in without_network(tmp_path).items()}
    launched.start(command=LAUNCHER)
    answer = launched.until_loaded()
    assert answer.status_code == 503
    assert answer.json()["models"]["whisper/mini"] == "ready"
    assert str(late) in answer.json()["models"]["demucs/htdemucs"]
    shutil.copytree(weights / "demucs", late / "demucs")
    (late / "demucs" / "tiny.yaml").rename(late / "demucs" / "htdemucs.yaml")
    ends_s = time.monotonic() + 120
    while (answer := launched.get("/ready")).status_code == 503:
        assert time.monotonic() < ends_s, answer.json()
        time.sleep(0.2)
    assert answer.json()["models"] == {"demucs/htdemucs": "ready", "whisper/mini": "ready"}


def test_the_development_server_is_ready_at_once(server: Server) -> None:
    answer = server.get("/ready")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "ready": True,
            "models": {},
            "notes": {},
            "storage": {"disk": "ready", "database": "ready"},
            "workers": None,
        },
    )
