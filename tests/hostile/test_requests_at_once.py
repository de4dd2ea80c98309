"""Equal requests at the same time, and requests for a file that is being removed."""

import io
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from studio.jobs.job import Job, Request
from studio.jobs.store import JobStore
from tests.support.hostile_files import open_door
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

AT_ONCE = 24
OPTIONS: dict[str, Any] = {"model_variant": "swift", "stems": ["vocals"]}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", noise(1.0, seed=77))


@pytest.fixture
def done(server: Server, song: Path) -> Iterator[str]:
    file_id = server.separate(song, **OPTIONS)
    yield file_id
    server.delete(f"/cleanup/{file_id}")


def rows(server: Server, file_id: str) -> int:
    with closing(sqlite3.connect(server.outputs / ".jobs.sqlite3")) as database:
        found = database.execute("SELECT count(*) FROM jobs WHERE file_id = ?", (file_id,))
        return int(found.fetchone()[0])


def together(*asked: Any) -> list[requests.Response]:
    """The answers of requests that start at the same moment."""
    barrier = Barrier(len(asked))

    def ask(one: Any) -> requests.Response:
        barrier.wait(timeout=60)
        answer: requests.Response = one()
        return answer

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, asked))


@pytest.mark.usefixtures("done")
def test_equal_requests_at_once_are_one_job(server: Server, song: Path) -> None:
    """The results of another upload with the same content are there already."""
    file_id = server.upload(song)
    answers = together(*[lambda: server.process(file_id, **OPTIONS)] * AT_ONCE)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert rows(server, file_id) == 1
    server.delete(f"/cleanup/{file_id}")


def test_a_file_that_is_removed_meanwhile_keeps_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its removal is asked for just before a job is stored that shares the results of another."""
    with contextmanager(open_door)(tmp_path) as client:
        first, second = (upload_prompt(client) for _ in range(2))
        options = {"model_variant": "mini", "seed": 1}
        client.post(f"/process/musicgen/{first}", json=options)
        complete(client, tmp_path, first)
        removals: list[Thread] = []
        add = JobStore.add

        def add_late(store: JobStore, request: Request, **more: Any) -> Job:
            remove = client.application.test_client().delete
            removals.append(Thread(target=remove, args=(f"/cleanup/{request.file_id}",)))
            removals[0].start()
            # It is over before the job is stored, or waits for that.
            removals[0].join(1.0)
            return add(store, request, **more)

        monkeypatch.setattr(JobStore, "add", add_late)
        assert client.post(f"/process/musicgen/{second}", json=options).status_code == 200
        removals[0].join(30.0)
        assert client.get(f"/status/{second}").status_code == 404
        store: JobStore = client.application.extensions["parts"].store
        assert store.of_file(second) == []


def upload_prompt(client: FlaskClient) -> str:
    sent = client.post("/upload", data={"file": (io.BytesIO(b"a calm piano"), "prompt.txt")})
    return str(sent.get_json()["file_id"])


def complete(client: FlaskClient, folder: Path, file_id: str) -> None:
    """Give the only job of a file results without doing it."""
    client.post(f"/cancel/{file_id}")
    with closing(sqlite3.connect(folder / "outputs" / ".jobs.sqlite3")) as database, database:
        result = '{"music": ["music"], "format": "wav", "duration_s": 1.0}'
        database.execute("UPDATE jobs SET state = 'completed', result = ?", (result,))
        [job_id] = database.execute("SELECT job_id FROM jobs").fetchone()
    results = folder / "outputs" / file_id / job_id
    results.mkdir(parents=True)
    write_wav(results / "music.wav", noise(0.1))
