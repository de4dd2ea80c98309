"""Equal requests at the same time, and requests for a file that is being removed."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import requests

from tests.support import Server, noise, write_wav

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


@pytest.mark.usefixtures("done")
def test_no_row_of_a_removed_file_stays(server: Server, song: Path) -> None:
    for _ in range(6):
        file_id = server.upload(song)
        process = [lambda file_id=file_id: server.process(file_id, **OPTIONS)] * 5
        answers = together(*process, lambda file_id=file_id: server.delete(f"/cleanup/{file_id}"))
        assert answers[-1].status_code == 200
        assert {answer.status_code for answer in answers[:-1]} <= {200, 202, 404}
        assert rows(server, file_id) == 0
        assert not (server.outputs / file_id).exists()
