"""The server may die at any moment: jobs run again, what was there stays, nothing half is shown."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, until
from tests.support.sounds import RATE_HZ, noise, read_sound, write_wav

JOB_S = 24.0
# For jobs that need not end.
SLOW: dict[str, Any] = {"shifts": 5, "overlap": 0.9}


@pytest.fixture(scope="module")
def long_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough for a job that can be interrupted."""
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", noise(JOB_S))


@pytest.fixture
def mortal(tmp_path: Path, weights: Path) -> Iterator[Server]:
    """A server of the test's own, slow enough to be killed in the middle of a job."""
    server = Server(
        tmp_path,
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        DATABASE_URL=f"sqlite:///{tmp_path / 'jobs.db'}",
    )
    server.start()
    yield server
    server.kill()


def status(server: Server, file_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.get(f"/status/{file_id}").json()
    return answer


def wait_for_the_middle(server: Server, file_id: str) -> None:
    until(lambda: status(server, file_id)["progress"] > 0.1)
    assert status(server, file_id)["status"] == "processing"


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file that a caller could see, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.relative_to(folder).parts[0].startswith((".incoming", ".work", ".lock"))
    }


def on_their_way(server: Server) -> list[Path]:
    return [*(server.uploads / ".incoming").iterdir(), *(server.outputs / ".work").iterdir()]


def downloads(server: Server, file_id: str) -> dict[str, bytes]:
    tracks = status(server, file_id)["tracks"]
    return {track: server.get(f"/download/{file_id}/{track}").content for track in tracks}


def test_a_job_that_is_killed_runs_again_before_those_that_waited(
    mortal: Server, short_wav: Path, long_wav: Path, tmp_path: Path
) -> None:
    finished = mortal.separate(short_wav)
    before = downloads(mortal, finished)
    interrupted = mortal.upload(long_wav)
    stored = contents(mortal.uploads)
    kept = contents(mortal.outputs)
    mortal.process(interrupted, overlap=0.75)
    mortal.process(finished, overlap=0.1)
    mortal.process(finished, overlap=0.2)
    wait_for_the_middle(mortal, interrupted)
    assert len(on_their_way(mortal)) == 1

    mortal.kill()
    assert contents(mortal.uploads) == stored
    assert contents(mortal.outputs) == kept
    mortal.start()

    assert contents(mortal.uploads) == stored
    assert downloads(mortal, finished) == before
    done = mortal.wait(interrupted)
    assert done["status"] == "completed"
    assert len(done["jobs"]) == 1
    assert mortal.wait(finished)["status"] == "completed"
    jobs = [*done["jobs"], *reversed(status(mortal, finished)["jobs"][:2])]
    ended = [job["finished_at"] for job in jobs]
    assert ended == sorted(ended)
    assert on_their_way(mortal) == []
    track = tmp_path / "vocals.wav"
    track.write_bytes(mortal.get(f"/download/{interrupted}/vocals").content)
    assert read_sound(track).shape == (2, round(JOB_S * RATE_HZ))
    assert kept.items() <= contents(mortal.outputs).items()


@pytest.mark.slow
def test_a_killed_job_shows_no_half_track(mortal: Server, long_wav: Path) -> None:
    file_id = mortal.upload(long_wav)
    mortal.process(file_id, **SLOW)
    wait_for_the_middle(mortal, file_id)
    mortal.kill()
    mortal.start()
    state = status(mortal, file_id)
    assert state["status"] in ("queued", "processing")
    assert state["tracks"] == []
    assert mortal.get(f"/download/{file_id}/vocals").json()["code"] == "not_ready"
    assert mortal.get(f"/download/{file_id}/all.zip").json()["code"] == "not_ready"
    assert mortal.get(f"/files/{file_id}").json()["tracks"] == []
    assert mortal.post(f"/cancel/{file_id}").json()["status"] == "canceled"
    until(lambda: on_their_way(mortal) == [])


def test_an_upload_that_is_killed_leaves_nothing(mortal: Server, short_wav: Path) -> None:
    kept = mortal.upload(short_wav)
    stored = contents(mortal.uploads)
    boundary = "frontier"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="half.wav"\r\n\r\n'
    ).encode()
    with socket.create_connection(("127.0.0.1", mortal.port)) as caller:
        caller.sendall(
            f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000\r\n"
            f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode()
        )
        caller.sendall(head + short_wav.read_bytes())
        until(lambda: any(path.stat().st_size > 100_000 for path in on_their_way(mortal)))
        mortal.kill()
    mortal.start()
    assert on_their_way(mortal) == []
    assert contents(mortal.uploads) == stored
    assert status(mortal, kept)["status"] == "uploaded"


@pytest.mark.slow
def test_a_server_that_is_stopped_puts_its_job_back(
    mortal: Server, long_wav: Path, short_wav: Path
) -> None:
    """`Server.stop` sends SIGTERM and fails where the process does not end."""
    running, waiting = mortal.upload(long_wav), mortal.upload(short_wav)
    mortal.process(running, overlap=0.9)
    mortal.process(waiting)
    wait_for_the_middle(mortal, running)
    mortal.stop()
    assert on_their_way(mortal) == []
    log = mortal.log.read_text()
    assert "Traceback" not in log
    mortal.start()
    for file_id in (running, waiting):
        done = mortal.wait(file_id)
        assert done["status"] == "completed", done
        assert len(done["jobs"]) == 1
    assert on_their_way(mortal) == []


@pytest.mark.slow
def test_a_job_that_keeps_killing_the_server_is_given_up(
    mortal: Server, long_wav: Path, short_wav: Path
) -> None:
    bad, good = mortal.upload(long_wav), mortal.upload(short_wav)
    mortal.process(bad, **SLOW)
    mortal.process(good)
    for _ in range(3):
        until(lambda: status(mortal, bad)["status"] == "processing")
        mortal.kill()
        mortal.start()
    given_up = status(mortal, bad)
    assert given_up["status"] == "failed"
    assert given_up["error"]["code"] == "interrupted"
    assert given_up["progress"] < 1.0
    assert mortal.wait(good)["status"] == "completed"
    assert mortal.process(bad, **SLOW).status_code == 202
    wait_for_the_middle(mortal, bad)
