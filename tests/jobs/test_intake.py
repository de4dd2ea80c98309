"""Equal requests: they share an unfinished job, or get the result of a completed one."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from scripts.services.postgres import Postgres
from studio.jobs import queries
from studio.jobs.intake import Intake
from studio.jobs.job import Job, Request
from studio.jobs.quota import Quota
from studio.jobs.usage import Usage
from studio.jobs.webhooks import Webhooks
from tests.support.housekeeping import House
from tests.support.jobs import RESULT, open_store, request
from tests.support.webhooks import OPEN

URL = "https://receiver.example"


def test_a_job_that_completes_while_its_request_is_repeated_runs_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = Quota(house.storage, Usage(house.store._engine), 0, 0)
    webhooks = Webhooks(house.outbox, OPEN, lambda _: {})
    intake = Intake(house.storage, house.store, house.runner, quota=quota, webhooks=webhooks)
    upload, submit = house.upload(), house.runner.submit

    def complete_and_submit(*given: Any) -> Job:
        for job in house.store.active():
            house.finish(job)
        return submit(*given)

    monkeypatch.setattr(house.runner, "submit", complete_and_submit)
    wanted = Request(upload.file_id, "demucs", "mini", {}, "the same")
    first = intake.submit(wanted, "ann")
    again = intake.submit(wanted, "ann", URL)
    assert again.job_id == first.job_id
    assert house.outbox.count("ann", "") == 1
    house.finish(first)
    assert intake.submit(wanted, "ann").job_id == first.job_id


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    postgres: Postgres = request.getfixturevalue("postgresql")
    return postgres.new_database(f"test{uuid4().hex}")


def test_completed_jobs_are_read_in_parts(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "JOBS_AT_ONCE", 2)
    with open_store(database) as store:
        store.add(request("a"))
        store.add(request("b"), result=RESULT)
        of_file = [store.add(request("a"), result=RESULT) for _ in range(3)]
        others = [store.add(request("a", f"{number}" * 32), result=RESULT) for number in range(4)]
        sent: list[str] = []
        event.listen(store._engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
        found = store.completed(request("a"))
        assert next(found) == of_file[-1]
        assert len(sent) == 1, sent
        assert list(found) == [*of_file[-2::-1], *others[::-1]]
        assert list(store.completed(request("c"))) == []
