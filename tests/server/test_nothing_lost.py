"""`kill -9` at random moments of upload, job and publishing: what was said to be there stays."""

import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil
import pytest
import requests

from studio.audio import PEAKS_FORMATS
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, noise, read_sound, write_wav

SEED = 20261
SOUND_S = 1.5
# Every so many rounds the answers are waited for, which also tells how long they take by now.
WHOLE_EVERY = 5
STEMS = {"drums", "bass", "other", "vocals"}
RESULT = {f"{stem}.{one}" for stem in STEMS for one in ("wav", *PEAKS_FORMATS.values())}
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "tests/support/preloaded.py", "-k", "gthread"]


@dataclass
class Promises:
    """What the server has said to its caller, and what was then seen on the disk."""

    uploads: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    completed: dict[str, dict[str, str]] = field(default_factory=dict)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use(server: Server, sound: Path, promises: Promises) -> None:
    """Upload, separate, download; ends where the server does."""
    try:
        with open(sound, "rb") as file:
            answer = requests.post(f"{server.url}/upload", files={"file": file}, timeout=60)
        assert answer.status_code == 201, answer.text
        file_id = answer.json()["file_id"]
        promises.uploads[file_id] = digest(sound)
        answer = server.process(file_id)
        assert answer.status_code == 202, answer.text
        promises.jobs[answer.json()["job_id"]] = file_id
        status = server.wait(file_id)
        assert status["status"] == "completed", status
        promises.completed[file_id] = {}
        track = server.get(f"/download/{file_id}/vocals").content
        promises.completed[file_id] = {"vocals.wav": hashlib.sha256(track).hexdigest()}
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        pass


def worker(server: Server) -> int:
    """The process that holds the uploads, the jobs and the database, once it answers."""
    while True:
        try:
            server.get("/health")
        except requests.ConnectionError:
            continue
        children = psutil.Process(server.pid).children()
        alive = [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
        if len(alive) == 1:
            return alive[0]


def check_the_disk(server: Server) -> None:
    """Whatever is visible is whole."""
    for folder in server.uploads.glob("[0-9a-f]*"):
        told = json.loads((folder / "upload.json").read_text())
        assert digest(folder / "source.wav") == told["sha256"]
    for result in server.outputs.glob("[0-9a-f]*/*"):
        assert {path.name for path in result.iterdir()} == RESULT
        for stem in result.glob("*.wav"):
            assert read_sound(stem).shape == (2, round(SOUND_S * RATE_HZ))


def check_the_promises(server: Server, promises: Promises) -> None:
    for file_id, sha256 in promises.uploads.items():
        assert digest(server.uploads / file_id / "source.wav") == sha256
    for job_id, file_id in promises.jobs.items():
        status = server.get(f"/status/{file_id}").json()
        assert [job["job_id"] for job in status["jobs"]] == [job_id]
    for file_id, known in promises.completed.items():
        status = server.get(f"/status/{file_id}").json()
        assert status["status"] == "completed", status
        found = {path.name: digest(path) for path in server.outputs.glob(f"{file_id}/*/*")}
        assert set(found) == RESULT
        assert known.items() <= found.items()
        promises.completed[file_id] = found


@pytest.fixture
def killed(tmp_path: Path, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path,
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        RATE_LIMIT="",
        RATE_LIMIT_WORK="",
        MAX_CLIENT_JOBS="0",
    )
    command = [*GUNICORN, "--threads", "16", "-b", f"127.0.0.1:{server.port}", "app:create_app()"]
    server.start(command=command)
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [8, 50])
def test_completed_results_survive_kills_at_any_moment(
    killed: Server, tmp_path: Path, kills: int
) -> None:
    moments = random.Random(SEED)
    promises = Promises()
    began_s = time.monotonic()
    use(killed, write_wav(tmp_path / "first.wav", noise(SOUND_S, seed=SEED)), promises)
    span_s = time.monotonic() - began_s
    assert len(promises.completed) == 1
    for number in range(kills):
        sound = write_wav(tmp_path / f"{number}.wav", noise(SOUND_S, seed=number))
        pid = worker(killed)
        caller = Thread(target=use, args=(killed, sound, promises))
        began_s = time.monotonic()
        caller.start()
        if number % WHOLE_EVERY == 0:
            caller.join()
            span_s = time.monotonic() - began_s
        else:
            time.sleep(moments.uniform(0.0, span_s))
        os.kill(pid, signal.SIGKILL)
        caller.join()
        check_the_disk(killed)
        worker(killed)
        check_the_promises(killed, promises)
    # The kills came before, between and after the answers.
    assert 1 < len(promises.completed) < len(promises.uploads) <= kills + 1
    for job_id, file_id in promises.jobs.items():
        status = killed.wait(file_id)
        # A job that was interrupted three times is given up, and says so.
        given_up = status["status"] == "failed" and status["error"]["code"] == "interrupted"
        assert status["status"] == "completed" or given_up, (job_id, status)
    check_the_disk(killed)
    check_the_promises(killed, promises)
    assert list((killed.uploads / ".incoming").iterdir()) == []
    assert list((killed.outputs / ".work").iterdir()) == []
    with closing(sqlite3.connect(killed.outputs / ".jobs.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
