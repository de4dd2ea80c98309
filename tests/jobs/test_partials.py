"""What running jobs have produced so far: in memory, and in the database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from studio.jobs.database import connect
from studio.jobs.job import Job
from studio.jobs.partials import LocalPartials, Partials
from studio.jobs.scale.partials import SharedPartials, forget_lost
from studio.jobs.store import JobStore
from studio.jobs.tables import PartialRow
from tests.support.jobs import request
from tests.support.server import until

ITEMS = [{"text": f"{number}"} for number in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    store.open()
    yield store
    store.close()


def shared(store: JobStore, max_bytes: int = 1 << 20) -> SharedPartials:
    return SharedPartials(store._engine, every_s=0.02, max_bytes=max_bytes)


def begun(store: JobStore) -> Job:
    store.add(request())
    job = store.claim()
    assert job is not None
    return job


def count_rows(store: JobStore) -> int:
    with store._sessions.reading() as session:
        return session.scalar(select(func.count()).select_from(PartialRow)) or 0


def local(_store: JobStore) -> LocalPartials:
    return LocalPartials()


@pytest.mark.parametrize("make", [local, shared])
def test_items_are_read_while_a_job_runs(
    store: JobStore, make: Callable[[JobStore], Partials]
) -> None:
    partials, job = make(store), begun(store)
    with partials.during(job) as show:
        assert partials.of(job.job_id) == []
        for number, item in enumerate(ITEMS):
            show(item)
            until(lambda: partials.of(job.job_id) == ITEMS[: number + 1])  # noqa: B023
        assert [partials.of(job.job_id, first) for first in (3, 5, 9)] == [ITEMS[3:], [], []]
    assert partials.of(job.job_id) == []


def test_items_at_once_are_few_rows(store: JobStore) -> None:
    partials, job = shared(store), begun(store)
    with partials.during(job) as show:
        for item in ITEMS:
            show(item)
        until(lambda: partials.of(job.job_id) == ITEMS)
        assert partials.of(job.job_id, 2) == ITEMS[2:]
        assert count_rows(store) <= 2
    assert count_rows(store) == 0


def test_the_size_of_the_items_is_bounded(store: JobStore) -> None:
    partials, job = shared(store, max_bytes=3 * len('{"text": "0"}')), begun(store)
    with partials.during(job) as show:
        for item in ITEMS:
            show(item)
        until(lambda: partials.of(job.job_id) == ITEMS[:3])


def test_the_items_of_a_lost_attempt_are_not_shown(store: JobStore) -> None:
    """Its job runs again on another worker, which begins without any."""
    partials, job = shared(store), begun(store)
    with partials.during(job) as show:
        show(ITEMS[0])
        until(lambda: partials.of(job.job_id))
        store.requeue(job)
        again = store.claim()
        assert again is not None and again.attempt == 2
        assert partials.of(job.job_id) == []
        with partials.during(again) as show_again:
            show_again(ITEMS[1])
            until(lambda: partials.of(job.job_id) == [ITEMS[1]])
            with store._sessions.begin() as session:
                forget_lost(session)
            assert count_rows(store) == 1


def test_items_are_written_after_the_answer_of_a_commit_was_lost(store: JobStore) -> None:
    """Their row is there, but the writer knows only of an error."""
    partials, job = shared(store), begun(store)
    with store._sessions.begin() as session:
        session.add(PartialRow(job_id=job.job_id, attempt=1, first=0, count=1, items=ITEMS[:1]))
    with partials.during(job) as show:
        for item in ITEMS:
            show(item)
        until(lambda: partials.of(job.job_id) == ITEMS)
