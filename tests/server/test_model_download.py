"""A job whose model must be downloaded first shows the download, and can be canceled meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, publish_htdemucs, serving
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Hub]:
    """A hub that stops after a quarter of the weights of `htdemucs`."""
    with serving(Hub()) as hub:
        publish_htdemucs(hub, weights, tmp_path_factory.mktemp("hub"))
        hub.paused_at = 0.25
        hub.paused.set()
        yield hub


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(
        folder,
        HF_HOME=folder / "hf",
        HF_ENDPOINT=hub.url,
        TORCH_HOME=folder / "torch",
        DEMUCS_MODEL="htdemucs",
        WHISPER_MODEL="mini",
        SEPARATION_ENGINE="torch",
    ).start()
    yield server
    server.stop()


@pytest.mark.slow
def test_a_download_is_a_stage_of_the_job(server: Server, hub: Hub, tmp_path: Path) -> None:
    """The server itself has begun the same download, to load its default variant."""
    song = write_wav(tmp_path / "song.wav", noise(1.0, seed=5))
    first = server.upload(song)
    server.process(first)
    until(lambda: server.get(f"/status/{first}").json()["progress"] > 0.2)
    hub.paused_at = 0.5
    until(lambda: server.get(f"/status/{first}").json()["progress"] > 0.4)
    status = server.get(f"/status/{first}").json()
    assert status["stage"] == "downloading model"
    assert status["progress"] < 0.6
    assert isinstance(status["eta_s"], float), "the speed is known after two reports"
    assert status["eta_s"] >= 0
    assert server.get("/models").json()["models"]["demucs"]["variants"]["htdemucs"]["weights"] == (
        "available"
    )

    assert server.post(f"/cancel/{first}").status_code == 200
    assert server.get(f"/status/{first}").json()["status"] == "canceled"
    second = server.upload(song)
    server.process(second, model_variant="mini", stems=["vocals"])
    assert server.wait(second)["status"] == "completed", "the thread of the canceled job is free"

    third = server.upload(song)
    server.process(third, stems=["bass"])
    until(lambda: server.get(f"/status/{third}").json()["stage"] == "downloading model")
    hub.paused.clear()
    status = server.wait(third)
    assert status["status"] == "completed", status
    assert server.process(third, stems=["bass"]).json()["job_id"] == status["job_id"]
    assert server.log.read_text().count("downloaded demucs/htdemucs") == 1
