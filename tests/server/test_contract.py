"""The contract's table of routes, over real HTTP: upload, process, status, files, cleanup."""

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from config import MODELS
from tests.support.server import Server
from tests.support.sounds import noise, sound_of, write_wav

STEMS = ["drums", "bass", "other", "vocals"]
TRACKS = [*STEMS, "no_drums", "no_bass", "no_other", "no_vocals", "instrumental"]
SLOW: dict[str, Any] = {"shifts": 20, "overlap": 0.5}


@pytest.fixture(scope="module")
def done(server: Server, short_wav: Path) -> str:
    """A file that was separated into all stems."""
    return server.separate(short_wav)


@pytest.fixture
def long_wav(tmp_path: Path) -> Path:
    """Ten seconds of sound that no other test sends."""
    return write_wav(tmp_path / "long.wav", noise(10.0, seed=uuid.uuid4().int))


@pytest.fixture
def busy(server: Server, long_wav: Path) -> Iterator[str]:
    """A file whose job runs for as long as the test; the only worker is occupied by it."""
    file_id = server.upload(long_wav)
    assert server.process(file_id, **SLOW).status_code == 202
    while server.get(f"/status/{file_id}").json()["status"] == "queued":
        pass
    yield file_id
    server.post(f"/cancel/{file_id}")


def test_health(server: Server) -> None:
    answer = server.get("/health")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    expected = {
        "status": "healthy",
        "message": "AI Model Backend with WebSocket support is running",
        "available_models": ["demucs", "whisper", "musicgen", "analysis"],
        "websocket_support": True,
        "transcription_endpoint": "/transcribe",
    }
    assert list(answer.json().items())[:5] == list(expected.items())


def test_models(server: Server, weights: Path) -> None:
    answer = server.get("/models")
    assert answer.status_code == 200
    models = answer.json()["models"]
    assert list(models) == ["demucs", "whisper", "musicgen", "analysis"]
    for name, model in models.items():
        assert model["purpose"] == MODELS[name]["purpose"]
        assert set(model["file_types"]) == MODELS[name]["file_types"]
    assert models["demucs"]["default"] == "tiny"
    assert models["whisper"]["default"] == "base"
    assert {"mini", "tiny.en", "base", "large-v3", "turbo"} <= models["whisper"]["variants"].keys()
    for variant in models["whisper"]["variants"].values():
        assert variant["stems"] is None
        assert (variant["engine"], variant["licence"]) == ("faster-whisper", "MIT")
    assert models["musicgen"]["default"] == "small"
    music = models["musicgen"]["variants"]
    assert {"mini", "small", "medium", "large", "melody", "stereo-small"} <= music.keys()
    assert all("CC-BY-NC-4.0" in music[name]["licence"] for name in music if name != "mini")
    assert (music["mini"]["licence"], music["small"]["engine"]) == ("MIT", "openvino")
    variants = models["demucs"]["variants"]
    published = {"htdemucs", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi"}
    published |= {"mdx", "mdx_extra", "mdx_q", "mdx_extra_q"}
    local = {bag.stem for bag in (weights / "demucs").glob("*.yaml")}
    assert variants.keys() == {"mini"} | published | local
    assert variants["mini"]["weights"] == "bundled"
    assert variants["mini"]["stems"] == STEMS
    assert 0 < variants["mini"]["size_bytes"] <= 8_000_000
    assert variants["mini"]["licence"] == "MIT"
    assert variants["tiny"]["weights"] == "local"
    assert variants["tiny_ft"]["size_bytes"] > 3 * variants["tiny"]["size_bytes"] > 0
    assert variants["htdemucs_6s"]["stems"] == [*STEMS, "guitar", "piano"]
    for name in published:
        assert variants[name]["weights"] in ("downloaded", "available")
        assert variants[name]["licence"] == "MIT"


def test_upload_of_sound(server: Server, short_wav: Path) -> None:
    with open(short_wav, "rb") as file:
        answer = server.post("/upload", files={"file": ("my song.wav", file)})
    assert answer.status_code == 201
    sent = answer.json()
    assert sent == {
        "file_id": sent["file_id"],
        "filename": "my song.wav",
        "bytes": short_wav.stat().st_size,
        "duration_s": 3.0,
        "sample_rate_hz": 44100,
        "channels": 2,
        "note": None,
    }
    assert answer.headers["Location"] == f"/files/{sent['file_id']}"
    assert server.get(answer.headers["Location"]).status_code == 200


def test_upload_of_text(server: Server) -> None:
    answer = server.post("/upload", files={"file": ("prompt.txt", "slow piano, rain")})
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["filename"], sent["bytes"], sent["duration_s"]) == ("prompt.txt", 16, None)


def test_every_upload_has_an_id_of_its_own(server: Server, short_wav: Path) -> None:
    assert server.upload(short_wav) != server.upload(short_wav)


def test_process_is_accepted_and_runs(server: Server, long_wav: Path) -> None:
    file_id = server.upload(long_wav)
    assert server.get(f"/status/{file_id}").json()["status"] == "uploaded"
    answer = server.process(file_id, model_variant="tiny")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["file_id"], job["model"], job["variant"]) == (file_id, "demucs", "tiny")
    assert job["status"] in ("queued", "processing")
    assert answer.headers["Location"] == f"/status/{file_id}"
    assert int(answer.headers["Retry-After"]) > 0

    progress = []
    while (status := server.get(answer.headers["Location"]).json())["status"] != "completed":
        assert status["status"] in ("queued", "processing"), status
        progress.append(status["progress"])
    assert progress == sorted(progress)
    assert status["progress"] == 1.0 >= max(progress)
    assert min(progress) >= 0.0
    assert status["job_id"] == job["job_id"]
    assert status["stage"] == "done"
    assert (status["place"], status["eta_s"], status["error"]) == (None, None, None)
    assert status["tracks"] == TRACKS
    assert [one["job_id"] for one in status["jobs"]] == [job["job_id"]]
    result = status["jobs"][0]["result"]
    assert (result["samples"], result["sample_rate_hz"]) == (441_000, 44_100)
    assert result["elapsed_s"] > 0


def test_process_without_a_body_takes_the_default(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    answer = server.post(f"/process/demucs/{file_id}")
    assert answer.status_code in (200, 202)
    assert answer.json()["variant"] == "tiny"
    assert server.wait(file_id)["status"] == "completed"


def test_jobs_wait_in_a_queue(server: Server, busy: str, short_wav: Path) -> None:
    status = server.get(f"/status/{busy}?wait=0.3").json()
    assert (status["status"], status["place"]) == ("processing", None)
    waiting = [server.upload(short_wav), server.upload(short_wav)]
    for place, file_id in enumerate(waiting, start=1):
        queued = server.process(file_id, **SLOW).json()
        assert (queued["status"], queued["place"]) == ("queued", place)
        assert (queued["progress"], queued["started_at"]) == (0.0, None)
    assert server.get("/health").json()["jobs_queued"] == 2
    assert server.get("/health").json()["jobs_processing"] == 1
    first = server.post(f"/cancel/{waiting[0]}").json()
    assert (first["status"], first["tracks"]) == ("canceled", [])
    assert server.get(f"/status/{waiting[1]}").json()["place"] == 1
    assert server.post(f"/cancel/{waiting[1]}").json()["status"] == "canceled"


def test_a_running_job_is_canceled(server: Server, busy: str, short_wav: Path) -> None:
    answer = server.post(f"/cancel/{busy}")
    assert answer.status_code == 200
    assert answer.json()["status"] == "canceled"
    assert server.separate(short_wav, overlap=0.1)  # the worker is free again
    assert server.get(f"/status/{busy}").json()["status"] == "canceled"
    assert list((server.outputs / ".work").iterdir()) == []
    again = server.process(busy, **SLOW)
    assert again.status_code == 202
    assert again.json()["status"] in ("queued", "processing")


def test_status_waits_for_the_end(server: Server, long_wav: Path) -> None:
    file_id = server.upload(long_wav)
    assert server.process(file_id, overlap=0.0).status_code == 202
    assert server.wait(file_id)["status"] == "completed"
    assert server.get(f"/status/{file_id}?wait=60").json()["status"] == "completed"


def test_status_of_a_running_job_measures(server: Server, busy: str) -> None:
    while not (status := server.get(f"/status/{busy}").json())["eta_s"]:
        assert status["status"] == "processing"
    assert 0 < status["progress"] < 1
    assert status["stage"] == "separating"
    assert server.get(f"/status/{busy}").headers["Retry-After"]


def test_the_same_request_while_the_job_runs_answers_that_job(server: Server, busy: str) -> None:
    running = server.get(f"/status/{busy}").json()["job_id"]
    again = server.process(busy, **SLOW)
    assert again.status_code == 202
    assert again.json()["job_id"] == running
    assert len(server.get(f"/status/{busy}").json()["jobs"]) == 1


def test_separate_is_the_old_name_of_process(server: Server, done: str) -> None:
    old, new = server.post(f"/separate/{done}"), server.post(f"/process/demucs/{done}")
    assert (old.status_code, old.json()) == (new.status_code, new.json())
    other = server.post(f"/separate/{done}", json={"overlap": 0.3})
    assert (other.status_code, other.json()["options"]["overlap"]) == (202, 0.3)
    assert server.wait(done)["status"] == "completed"


def test_the_same_song_is_answered_at_once(server: Server, long_wav: Path) -> None:
    first, second = server.separate(long_wav, shifts=1), server.upload(long_wav)
    answer = server.process(second, shifts=1)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["progress"]) == ("completed", 1.0)
    assert answer.json()["tracks"] == TRACKS
    sounds = {}
    for track in TRACKS:
        sounds[track] = sound_of(server.get(f"/download/{first}/{track}"))
        assert np.array_equal(sound_of(server.get(f"/download/{second}/{track}")), sounds[track])
    assert server.delete(f"/cleanup/{first}").status_code == 200
    assert np.array_equal(sound_of(server.get(f"/download/{second}/vocals")), sounds["vocals"])
    job_id = answer.json()["job_id"]
    assert server.process(second, shifts=1).json()["job_id"] == job_id


def test_other_options_are_another_job(server: Server, long_wav: Path) -> None:
    file_id = server.separate(long_wav)
    first = server.get(f"/status/{file_id}").json()["job_id"]
    asked: list[dict[str, Any]] = [
        {"overlap": 0.5},
        {"stems": ["bass"]},
        {"format": "flac"},
        {"model_variant": "mini"},
    ]
    for options in asked:
        answer = server.process(file_id, **options)
        assert (answer.status_code, answer.json()["status"]) == (202, "queued"), options
    assert server.post(f"/cancel/{file_id}").status_code == 200
    jobs = server.get(f"/status/{file_id}").json()["jobs"]
    assert len({job["job_id"] for job in jobs}) == len(asked) + 1
    assert jobs[-1]["job_id"] == first


def test_the_order_of_stems_makes_no_other_job(server: Server, done: str) -> None:
    first = server.process(done, stems=["bass", "vocals"])
    server.wait(done)
    again = server.process(done, stems=["vocals", "bass", "vocals"])
    assert (again.status_code, again.json()["job_id"]) == (200, first.json()["job_id"])


def test_files(server: Server, long_wav: Path) -> None:
    file_id = server.upload(long_wav)
    before = server.get(f"/files/{file_id}").json()
    assert (before["tracks"], before["archive"]) == ([], None)
    assert before["filename"] == "long.wav"
    server.process(file_id)
    server.wait(file_id)
    listed = server.get(f"/files/{file_id}").json()
    assert [track["track"] for track in listed["tracks"]] == TRACKS
    for track in listed["tracks"]:
        assert track["duration_s"] == 10.0
        assert set(track["formats"]) == {"wav", "flac", "mp3", "ogg"}
    vocals = next(t for t in listed["tracks"] if t["track"] == "vocals")["formats"]
    assert (vocals["wav"]["ready"], vocals["mp3"]["ready"]) == (True, False)
    mp3 = server.get(vocals["mp3"]["url"]).content
    assert len(server.get(vocals["wav"]["url"]).content) == vocals["wav"]["bytes"]
    after = server.get(f"/files/{file_id}").json()["tracks"]
    vocals = next(t for t in after if t["track"] == "vocals")["formats"]
    assert vocals["mp3"] == {**vocals["mp3"], "ready": True, "bytes": len(mp3)}
    assert server.get(listed["archive"]).status_code == 200


def test_cleanup(server: Server, long_wav: Path) -> None:
    file_id = server.separate(long_wav)
    answer = server.delete(f"/cleanup/{file_id}")
    assert answer.status_code == 200
    assert answer.json()["file_id"] == file_id
    assert not (server.uploads / file_id).exists()
    assert not (server.outputs / file_id).exists()
    for path in ("status", "files", "download/{}/vocals", "download/{}/all.zip"):
        gone = server.get(f"/{path.format(file_id)}" if "{}" in path else f"/{path}/{file_id}")
        assert (gone.status_code, gone.json()["code"]) == (404, "unknown_file")
    assert server.delete(f"/cleanup/{file_id}").status_code == 404


def test_cleanup_cancels_a_running_job(server: Server, busy: str, short_wav: Path) -> None:
    assert server.delete(f"/cleanup/{busy}").status_code == 200
    assert server.get(f"/status/{busy}").status_code == 404
    assert server.separate(short_wav, overlap=0.2)  # the worker is free again
    assert not (server.uploads / busy).exists()
    assert not (server.outputs / busy).exists()
    assert list((server.outputs / ".work").iterdir()) == []


@pytest.mark.parametrize("path", ["/health", "/status/unknown", "/no/such/route"])
def test_any_web_page_may_call(server: Server, path: str) -> None:
    answer = server.get(path, headers={"Origin": "https://page.example"})
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://page.example")
    exposed = answer.headers["Access-Control-Expose-Headers"]
    names = ("Location", "Retry-After", "Content-Disposition", "Content-Range", "ETag")
    for name in (*names, "x-should-retry"):
        assert name in exposed


def test_a_web_page_may_ask_before(server: Server) -> None:
    answer = requests.options(
        f"{server.url}/cleanup/some",
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "content-type",
        },
        timeout=30,
    )
    assert answer.status_code == 200
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_an_upload_may_come_in_pieces(server: Server, short_wav: Path) -> None:
    """A body of unknown length (chunked), as a pipe or a proxy sends it."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = io.BytesIO(head + short_wav.read_bytes() + b"\r\n--x--\r\n")
    answer = server.post(
        "/upload",
        data=iter(lambda: body.read(65_537), b""),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert (answer.status_code, answer.json()["duration_s"]) == (201, 3.0)
