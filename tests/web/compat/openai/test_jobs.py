"""The jobs that requests to OpenAI's audio API start, join and wait for."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from openai import OpenAI

from studio.web.services import MAX_WAITING_PER_CLIENT
from tests.support.openai_audio import (
    HEADERS,
    OTHER,
    PATH,
    ask,
    assert_error,
    client_of,
    jobs_of,
    newest,
)
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav
from tests.support.speech import write_speech


@pytest.mark.slow
def test_the_page_can_follow_a_job_too(server: Server, tmp_path: Path) -> None:
    path = write_speech(tmp_path / "followed.wav", times=12, rate_hz=22_050)
    sent = server.post(
        "/upload", files={"file": ("file.wav", path.read_bytes())}, headers=HEADERS
    ).json()
    server.post(f"/process/whisper/{sent['file_id']}", headers=HEADERS)
    seen: list[str] = []
    while True:
        address = f"/status/{sent['file_id']}?wait=30&partial_from={len(seen)}"
        status = server.get(address, headers=HEADERS).json()
        seen += [segment["text"].strip() for segment in status["partial"] or []]
        if status["status"] == "completed":
            break
    assert status["partial"] is None
    text = server.get(f"/download/{sent['file_id']}/transcription", headers=HEADERS).text
    assert seen and text.startswith("\n".join(seen))
    bad = server.get(f"/status/{sent['file_id']}?partial_from=-1", headers=HEADERS)
    assert bad.json()["code"] == "invalid_option"


def test_a_cut_connection_does_not_cancel_the_job(
    server: Server, client: OpenAI, tmp_path: Path
) -> None:
    """The client gives up while the job runs and tries again: all of it is one job."""
    path = write_speech(tmp_path / "cut.wav", times=2, rate_hz=12_000)
    files = {"file": (path.name, path.read_bytes())}
    data = {"model": "whisper-1"}
    request = requests.Request("POST", server.url + PATH, HEADERS, files, data).prepare()
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: localhost", *lines, "", ""])
    assert isinstance(request.body, bytes)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as caller:
        caller.sendall(head.encode() + request.body)
        until(lambda: len(jobs_of(server, path.read_bytes())) == 1)
    with open(path, "rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert len(answer.text.split()) > 50
    assert [job["status"] for job in jobs_of(server, path.read_bytes())] == ["completed"]


def test_another_key_has_an_upload_of_its_own(server: Server, client: OpenAI) -> None:
    sound = noise(1.0, seed=77)
    path = write_wav(server.folder / "own.wav", sound)
    with open(path, "rb") as file:
        client.audio.transcriptions.create(model="mini", file=file)
    jobs = jobs_of(server, path.read_bytes())
    other = {"Authorization": f"Bearer {OTHER}"}
    assert server.get(f"/status/{jobs[0]['file_id']}", headers=other).status_code == 404
    with client_of(server, OTHER) as stranger:
        stranger.audio.transcriptions.create(model="mini", file=path)
    assert server.get(f"/status/{jobs[0]['file_id']}", headers=other).status_code == 404


def test_so_many_requests_of_a_client_wait(server: Server, tmp_path: Path) -> None:
    path = write_speech(tmp_path / "wait.wav", times=8, rate_hz=11_025)
    with ExitStack() as waiting:
        for _ in range(MAX_WAITING_PER_CLIENT):
            answer = requests.post(
                server.url + PATH,
                files={"file": ("wait.wav", path.read_bytes())},
                data={"stream": "true"},
                headers=HEADERS,
                stream=True,
                timeout=120,
            )
            assert waiting.enter_context(answer).status_code == 200
        refused = ask(server, path)
        assert_error(refused, 429, "too_many_waiting", None)
        assert refused.headers["Retry-After"] == "5" and "x-should-retry" not in refused.headers
        # A status is still answered, at once.
        file_id = newest(server)
        assert server.get(f"/status/{file_id}?wait=60", headers=HEADERS).status_code == 200
    assert len(jobs_of(server, path.read_bytes())) == 1
    until(lambda: ask(server, path).status_code == 200)
