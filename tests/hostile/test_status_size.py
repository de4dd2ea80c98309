"""However many jobs of a file somebody starts, its status stays small."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.jobs.database import connect
from studio.jobs.job import Request, State
from studio.jobs.rows import MAX_JOBS_KEPT
from studio.jobs.store import JobStore
from studio.web.answers import JOBS_PER_PAGE
from tests.support.problems import assert_problem
from tests.support.server import Server

JOBS = MAX_JOBS_KEPT + 12


@pytest.fixture(scope="module")
def busy(server: Server, short_wav: Path) -> str:
    """A file for which two answers that are there already were asked for in turn, many times."""
    file_id = server.separate(short_wav, model_variant="swift", stems=["vocals"])
    for number in range(JOBS):
        stem = ("drums", "vocals")[number % 2]
        job = server.process(file_id, model_variant="swift", stems=[stem]).json()
        if job["status"] != "completed":
            server.wait(file_id)
    return file_id


def test_the_jobs_of_a_file_are_bounded_and_listed_in_pages(server: Server, busy: str) -> None:
    status = server.get(f"/status/{busy}").json()
    assert status["jobs_total"] == MAX_JOBS_KEPT
    assert [len(status["jobs"]), status["jobs"][0]["job_id"]] == [JOBS_PER_PAGE, status["job_id"]]
    seen = [job["job_id"] for job in status["jobs"]]
    while status["next"] is not None:
        page = server.get(status["next"]).json()
        assert {**page, "jobs": [], "next": None} == {**status, "jobs": [], "next": None}
        seen += [job["job_id"] for job in page["jobs"]]
        status = page
    assert len(seen) == len(set(seen)) == MAX_JOBS_KEPT
    assert {"drums", "vocals"} <= set(status["tracks"])
    unknown = server.get(f"/status/{busy}?before=nonsense")
    assert_problem(unknown, "invalid_option", "'nonsense'")


def test_options_have_64_kb(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    body = json.dumps({"stems": ["x" * (1 << 16)]})
    answer = server.post(
        f"/process/demucs/{file_id}", data=body, headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, "file_too_large", "65,536 bytes")
    assert server.get(f"/status/{file_id}").json()["jobs"] == []


def request(number: int, file_id: str = "a" * 32) -> Request:
    return Request(file_id, "demucs", "mini", {"number": number}, f"{number}")


def test_what_matters_most_is_kept_longest(tmp_path: Path) -> None:
    """Failed jobs go before completed ones; waiting ones stay, and those of unsent messages."""
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    store = JobStore(engine)
    store.open()
    result: dict[str, Any] = {"stems": []}
    waiting = store.add(request(0))
    told = store.add(request(1), result=result, webhook="https://a.example")
    failed = store.add(request(2))
    store.finish(failed, State.FAILED, error={"code": "x", "error": "y"})
    store.add(request(0, "b" * 32), result=result)
    first = store.add(request(3), result=result)
    for number in range(MAX_JOBS_KEPT - 4):
        store.add(request(10 + number), result=result)

    def kept() -> list[str]:
        return [job.job_id for job in store.of_file("a" * 32)]

    assert failed.job_id in kept()
    store.add(request(1000), result=result)
    assert failed.job_id not in kept()
    assert {waiting.job_id, told.job_id, first.job_id} <= set(kept())
    store.add(request(1001), result=result)
    assert first.job_id not in kept()
    assert {waiting.job_id, told.job_id} <= set(kept())
    assert len(kept()) == MAX_JOBS_KEPT
    assert len(store.of_file("b" * 32)) == 1
    engine.dispose()
