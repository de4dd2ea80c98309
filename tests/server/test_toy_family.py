"""A fourth model family costs one module: it goes through every route like the other three."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import noise, write_wav


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("toy"))
    yield server.start(application="tests.support.toy_family:create_app()")
    server.stop_later()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "sound.wav", noise(2.0, seed=91))


@pytest.fixture(scope="module")
def file_id(toy: Server, sound: Path) -> str:
    file_id = toy.upload(sound)
    assert toy.process(file_id, "invert").status_code == 202
    assert toy.wait(file_id)["status"] == "completed"
    return file_id


def test_its_track_comes_in_every_format(toy: Server, sound: Path, file_id: str) -> None:
    source, rate_hz = soundfile.read(sound, always_2d=True)
    for audio_format in ("wav", "flac", "mp3", "ogg"):
        answer = toy.get(f"/download/{file_id}/inverted?format={audio_format}")
        assert answer.status_code == 200
        inverted, inverted_hz = soundfile.read(io.BytesIO(answer.content))
        step = rate_hz // 100
        low = source.mean(axis=1)[: 100 * step].reshape(100, -1).mean(axis=1)
        found = inverted[:inverted_hz].reshape(100, -1).mean(axis=1)
        assert np.corrcoef(low, found)[0, 1] < -0.8, audio_format


def test_status_files_and_archive_know_its_track(toy: Server, file_id: str) -> None:
    status = toy.get(f"/status/{file_id}").json()
    assert (status["model"], status["tracks"], status["progress"]) == ("invert", ["inverted"], 1)
    [track] = toy.get(f"/files/{file_id}").json()["tracks"]
    assert track["track"] == "inverted"
    assert set(track["formats"]) == {"wav", "flac", "mp3", "ogg"}
    archive = toy.get(f"/download/{file_id}/all.zip").content
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == ["sound - inverted.wav"]


def test_an_equal_request_is_answered_from_its_results(toy: Server, file_id: str) -> None:
    answer = toy.process(file_id, "invert", passes=1)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


def test_its_options_are_checked(toy: Server, file_id: str) -> None:
    assert_problem(toy.process(file_id, "invert", passes=0), "invalid_option", "passes")
    assert_problem(toy.process(file_id, "invert", twice=True), "unknown_option", "passes")
    assert_problem(toy.process(file_id, "invert", model_variant="x"), "unknown_variant", "mini")
    assert_problem(toy.get(f"/download/{file_id}/other"), "unknown_track", "inverted")
    assert_problem(
        toy.get(f"/download/{file_id}/inverted?format=txt"), "unknown_format", "wav, flac"
    )


def test_it_reports_progress_and_is_canceled(toy: Server, sound: Path) -> None:
    file_id = toy.upload(sound)
    assert toy.process(file_id, "invert", passes=10_000).status_code == 202
    while not 0 < toy.get(f"/status/{file_id}").json()["progress"] < 1:
        pass
    assert toy.get(f"/status/{file_id}").json()["stage"] == "inverting"
    assert toy.post(f"/cancel/{file_id}").json()["status"] == "canceled"
    assert toy.get(f"/status/{file_id}").json()["tracks"] == []
    assert_problem(toy.get(f"/download/{file_id}/inverted"), "not_ready", "/process/")
    assert toy.delete(f"/cleanup/{file_id}").status_code == 200
    assert toy.get(f"/status/{file_id}").status_code == 404


@pytest.mark.usefixtures("file_id")
def test_the_server_describes_it(toy: Server) -> None:
    assert "invert" in toy.get("/health").json()["available_models"]
    described = toy.get("/models").json()["models"]["invert"]
    assert described["file_types"] == ["wav"]
    assert described["variants"]["mini"]["weights"] == "bundled"
    api = toy.get("/openapi.json").json()
    assert "passes" in api["components"]["schemas"]["InvertOptions"]["properties"]
    body = api["paths"]["/process/{model}/{file_id}"]["post"]["requestBody"]["content"]
    assert {"$ref": "#/components/schemas/InvertOptions"} in body["application/json"]["schema"][
        "anyOf"
    ]
    own = api["paths"]["/process/invert/{file_id}"]["post"]
    assert own["operationId"] == "start_invert_job"
    job = api["components"]["schemas"]["InvertJob"]["properties"]
    assert {"$ref": "#/components/schemas/SoundResult"} in job["result"]["anyOf"]
    metrics = toy.get("/metrics").text
    assert 'studio_audio_seconds_total{model="invert"}' in metrics
