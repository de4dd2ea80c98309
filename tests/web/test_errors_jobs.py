"""Jobs that fail say why; results that are gone, and defects, are answered with a code too."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.errors import DiskFull
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.job import Job, Request, State
from studio.jobs.runner import JobRunner
from studio.jobs.store import MAX_ATTEMPTS, JobStore
from tests.support.problems import assert_problem, assert_sentence, without_network
from tests.support.server import WAIT_S, Server
from tests.support.sounds import noise, write_wav

REQUEST = Request("0" * 32, "demucs", "tiny", {}, "fingerprint")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server without network and caches, with damaged weights in its folder."""
    folder = tmp_path_factory.mktemp("alone")
    bags = folder / "weights" / "demucs"
    shutil.copytree(weights / "demucs", bags)
    whole = (bags / "tiny0.safetensors").read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("header", whole[:100]),
        ("junk", bytes(range(256)) * 8),
        ("empty", b""),
        ("foreign", whole.replace(b"demucs.htdemucs.HTDemucs", b"subprocess.check_output!")),
    ):
        (bags / f"{name}.safetensors").write_bytes(content)
        (bags / f"{name}.yaml").write_text(yaml.safe_dump({"models": [name]}))
    (bags / "gap.yaml").write_text(yaml.safe_dump({"models": ["tiny0", "nothere"]}))
    (bags / "notabag.yaml").write_text("just a text")
    (bags / "notyaml.yaml").write_bytes(b"models: [\xff\x00")
    server = Server(
        folder,
        MODEL_DIR=folder / "weights",
        DEMUCS_MODEL="tiny",
        **without_network(folder),
    ).start()
    yield server
    server.stop_later()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    store.open()
    yield store
    store.close()


def failure(server: Server, song: Path, **options: Any) -> dict[str, Any]:
    """The error of a job that fails; it is the same at the top of the status and in the job."""
    file_id = server.upload(song)
    answer = server.process(file_id, **options)
    assert answer.status_code == 202, answer.text
    status = server.wait(file_id)
    assert status["status"] == "failed"
    assert status["error"] == status["jobs"][0]["error"]
    assert (status["tracks"], status["eta_s"]) == ([], None)
    assert status["jobs"][0]["finished_at"]
    assert_problem(server.get(f"/download/{file_id}/vocals"), "not_ready", "failed")
    assert not (server.outputs / file_id).exists()
    return dict(status["error"])


def test_missing_weights(alone: Server, short_wav: Path) -> None:
    """A bag in MODEL_DIR names weights that are not beside it."""
    error = failure(alone, short_wav, model_variant="gap")
    assert error["code"] == "weights_missing"
    assert error["missing"] == ["nothere.safetensors"]
    for named in ("gap.yaml", "nothere.safetensors", str(alone.folder / "weights"), "'mini'"):
        assert named in error["error"]


def test_weights_that_cannot_be_downloaded(alone: Server, short_wav: Path) -> None:
    error = failure(alone, short_wav, model_variant="htdemucs_ft")
    assert error["code"] == "weights_missing"
    assert len(error["missing"]) == 4
    for named in ("htdemucs_ft.yaml", "f7e0c4bc", str(alone.folder / "weights"), "'mini'"):
        assert named in error["error"]


def test_a_hub_model_that_cannot_be_downloaded(alone: Server, short_wav: Path) -> None:
    error = failure(alone, short_wav, model_variant="hf://somebody/something")
    assert error["code"] == "weights_missing"
    for named in ("hf://somebody/something", "network", "'mini'"):
        assert named in error["error"]


@pytest.mark.parametrize(
    "name",
    [
        "cut",
        "notyaml",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("header", "junk", "empty", "foreign", "notabag")
        ),
    ],
)
def test_damaged_weights(alone: Server, short_wav: Path, name: str) -> None:
    error = failure(alone, short_wav, model_variant=name)
    assert error["code"] == "model_unusable"
    shown = error["error"].replace("Error:", "").replace(str(alone.folder), "MODEL_DIR")
    assert_sentence(shown, name)
    assert "'mini'" in error["error"]


def test_damaged_weights_do_not_hide_the_other_models(alone: Server, short_wav: Path) -> None:
    answer = alone.get("/models")
    assert answer.status_code == 200
    variants = answer.json()["models"]["demucs"]["variants"]
    assert {"tiny", "mini", "cut", "junk", "notabag", "notyaml"} <= variants.keys()
    assert alone.separate(short_wav)


def test_a_song_that_cannot_be_decoded_to_its_end(alone: Server, tmp_path: Path) -> None:
    """Somebody damaged the upload on the server's disk."""
    song = write_wav(tmp_path / "song.wav", noise(1.0, seed=41))
    file_id = alone.upload(song)
    (alone.uploads / file_id / "source.wav").write_bytes(b"no longer a song")
    assert alone.process(file_id).status_code == 202
    status = alone.wait(file_id)
    assert (status["status"], status["error"]["code"]) == ("failed", "not_audio")
    assert_sentence(status["error"]["error"], "")


def test_results_that_somebody_removed(alone: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", noise(1.0, seed=42))
    file_id = alone.separate(song)
    shutil.rmtree(alone.outputs / file_id)
    for track in ("vocals", "instrumental", "vocals?format=mp3", "all.zip"):
        assert_problem(alone.get(f"/download/{file_id}/{track}"), "results_gone", "again")
    assert alone.get(f"/files/{file_id}").status_code == 200
    answer = alone.process(file_id)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert alone.wait(file_id)["status"] == "completed"
    assert alone.get(f"/download/{file_id}/vocals").status_code == 200


def test_a_defect_in_a_request(alone: Server, short_wav: Path) -> None:
    """Something that must not happen: the answer says so, and shows nothing of the inside."""
    file_id = alone.upload(short_wav)
    assert alone.process(file_id, model_variant="mini").status_code == 202
    alone.wait(file_id)
    with closing(sqlite3.connect(alone.outputs / ".jobs.sqlite3")) as database, database:
        changed = "UPDATE jobs SET state = 'broken' WHERE file_id = ?"
        assert database.execute(changed, (file_id,)).rowcount == 1
    body = assert_problem(alone.get(f"/status/{file_id}"), "internal_error", "log")
    assert "broken" not in str(body)
    assert "'broken' is not a valid State" in alone.log.read_text()
    assert alone.get("/health").status_code == 200


def keep(_job: Job) -> None:
    """These jobs publish nothing that a cancel would have to remove."""


def run_one(store: JobStore, work: Any) -> Job:
    """One job done with `work` by a runner; what became of it."""
    executor = Executor(store, {"demucs": work}, keep)
    runner = JobRunner(store, executor, workers=1, max_queued=5)
    runner.start()
    job = runner.submit(REQUEST)
    runner.wait(job.job_id, WAIT_S)
    runner.stop()
    found = store.get(job.job_id)
    assert found is not None
    return found


def test_a_defect_in_a_job(store: JobStore) -> None:
    def work(_job: Job, _report: Any) -> dict[str, Any]:
        raise ZeroDivisionError("secret of the inside")

    job = run_one(store, work)
    assert job.state is State.FAILED and job.error is not None
    assert job.error["code"] == "internal_error"
    assert job.job_id in job.error["error"]
    assert "secret" not in job.error["error"]


def test_an_error_in_a_job_keeps_its_code_and_more(store: JobStore) -> None:
    def work(_job: Job, _report: Any) -> dict[str, Any]:
        raise DiskFull("The disk is full.", free_bytes=7)

    job = run_one(store, work)
    assert job.error == {"code": "disk_full", "error": "The disk is full.", "free_bytes": 7}


@pytest.mark.slow
def test_a_job_that_stops_the_server_again_and_again(store: JobStore) -> None:
    """Each start after a crash queues the job again; after the last attempt it has failed."""
    job_id = store.add(REQUEST).job_id
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = store.claim()
        assert claimed is not None and claimed.attempts == attempt
        JobRunner(store, Executor(store, {}, keep), workers=0, max_queued=5).start()
    job = store.get(job_id)
    assert job is not None and job.state is State.FAILED and job.error is not None
    assert job.error["code"] == "interrupted"
    assert_sentence(job.error["error"], "again")
    assert store.claim() is None
