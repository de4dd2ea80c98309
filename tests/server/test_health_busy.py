"""The server stays alive and correct while a model works."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.server import Server
from tests.support.sounds import noise, write_wav


@pytest.fixture(scope="module")
def endless_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So long that its job never ends by itself in a test."""
    sound = np.tile(noise(10.0, seed=12), 60)
    return write_wav(tmp_path_factory.mktemp("endless") / "endless.wav", sound)


def health(server: Server) -> dict[str, Any]:
    answer = server.get("/health")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    assert found["status"] == "healthy"
    assert found["message"] == "AI Model Backend with WebSocket support is running"
    assert found["available_models"] == ["demucs", "whisper", "musicgen", "analysis"]
    assert found["websocket_support"] is True
    assert found["transcription_endpoint"] == "/transcribe"
    return found


def test_health_is_answered_all_along_a_job(server: Server, endless_wav: Path) -> None:
    file_id = server.upload(endless_wav)
    assert server.process(file_id, shifts=20).status_code == 202
    progress: list[float] = []
    asked_while_busy = 0
    while len(set(progress)) < 5 or asked_while_busy < 4:
        status = server.get(f"/status/{file_id}").json()
        assert status["status"] in ("queued", "processing")
        asked_while_busy += health(server)["jobs_processing"]
        progress.append(status["progress"])
    assert progress == sorted(progress)
    assert server.post(f"/cancel/{file_id}").status_code == 200
    assert server.wait(file_id)["status"] == "canceled"
    assert health(server)["jobs_processing"] == 0


@pytest.mark.slow
def test_everything_else_is_answered_too(
    server: Server, endless_wav: Path, short_wav: Path
) -> None:
    """Uploads, lists, pages and downloads of other files do not wait for the worker."""
    other = server.separate(short_wav)
    file_id = server.upload(endless_wav)
    server.process(file_id)
    while (status := server.get(f"/status/{file_id}").json())["progress"] == 0:
        assert status["status"] in ("queued", "processing")
        health(server)
    waiting = server.upload(short_wav)
    assert server.process(waiting, overlap=0.35).json()["place"] == 1
    assert health(server)["jobs_queued"] == 1
    assert server.get("/models").json()["models"]["demucs"]["default"] == "tiny"
    assert server.get(f"/download/{other}/vocals?format=mp3").status_code == 200
    assert server.get(f"/download/{other}/instrumental").status_code == 200
    assert server.get("/openapi.json").status_code == 200
    assert server.get(f"/status/{file_id}").json()["status"] == "processing"
    assert server.delete(f"/cleanup/{file_id}").status_code == 200
    assert server.wait(waiting)["status"] == "completed"
    assert health(server)["jobs_queued"] == 0
