"""What both implementations of `Jobs` do: threads with SQLite, and workers with PostgreSQL."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from studio.errors import (
    NotAudio,
    NothingToCancel,
    QueueFull,
    StorageUnavailable,
    TooManyJobs,
)
from studio.jobs import store
from studio.jobs.job import Job, Report, State
from tests.support import job_backends
from tests.support.job_backends import MAX_PER_CLIENT, MAX_QUEUED, Backend
from tests.support.jobs import FILE, RESULT, request
from tests.support.server import WAIT_S, until


@pytest.fixture(params=["threads", pytest.param("workers", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    if request.param == "threads":
        with job_backends.threads(tmp_path) as backend:
            yield backend
    else:
        with job_backends.workers(request.getfixturevalue("postgresql")) as backend:
            yield backend


def ended(backend: Backend, job: Job) -> Job:
    backend.jobs.wait(job.job_id, WAIT_S)
    found = backend.store.get(job.job_id)
    assert found is not None and found.state.is_final, found
    return found


def test_a_job_from_beginning_to_end(backend: Backend) -> None:
    job = backend.jobs.submit(request())
    assert (job.state, job.place, job.attempt) == (State.QUEUED, 1, 1)
    backend.work.go.set()
    done = ended(backend, job)
    assert (done.state, done.stage, done.progress) == (State.COMPLETED, "done", 1.0)
    assert (done.result, done.attempts, done.place) == (RESULT, 1, None)
    assert done.result_id.name == job.job_id


def test_an_edit_does_not_wait_for_another_one_for_ever(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EDITING_WAIT_S", 0.05)
    unavailable = pytest.raises(StorageUnavailable, match="edit")
    with backend.store.editing("song"), unavailable, backend.store.editing("other song"):
        pass
    with backend.store.editing("song"):
        pass


def test_equal_requests_at_once_make_one_job(backend: Backend) -> None:
    found: list[str] = []
    callers = [
        threading.Thread(target=lambda: found.append(backend.jobs.submit(request()).job_id))
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 8
    assert set(found) == {job.job_id for job in backend.store.of_file(FILE)}
    assert len(set(found)) == 1


def test_jobs_are_bounded_in_all_and_for_a_client(backend: Backend) -> None:
    running = backend.jobs.submit(request("0"))
    until(lambda: backend.work.began)
    for number in range(MAX_QUEUED):
        backend.jobs.submit(request(f"{number + 1}"), client=f"client {number}")
    with pytest.raises(QueueFull):
        backend.jobs.submit(request("one too many"))
    assert backend.jobs.submit(request("0")).job_id == running.job_id
    backend.work.go.set()
    until(lambda: backend.store.count(State.COMPLETED) == MAX_QUEUED + 1)
    backend.work.go.clear()
    for number in range(MAX_PER_CLIENT):
        backend.jobs.submit(request(f"ann {number}"), client="ann")
    with pytest.raises(TooManyJobs):
        backend.jobs.submit(request("ann's last"), client="ann")


def test_canceling_ends_waiting_and_running_jobs(backend: Backend) -> None:
    running = backend.jobs.submit(request("running"))
    until(lambda: backend.work.began)
    waiting = backend.jobs.submit(request("waiting"))
    other = backend.jobs.submit(request("other", file_id="e" * 32))
    backend.jobs.cancel(FILE)
    assert ended(backend, running).state is State.CANCELED
    assert ended(backend, waiting).state is State.CANCELED
    with pytest.raises(NothingToCancel):
        backend.jobs.cancel(FILE)
    backend.work.go.set()
    assert ended(backend, other).state is State.COMPLETED
    assert backend.work.began == [running.job_id, other.job_id]


@pytest.mark.parametrize("is_deleted", [False, True], ids=["", "deleted"])
def test_a_canceled_job_counts_the_time_that_was_measured(
    backend: Backend, is_deleted: bool
) -> None:
    job = backend.jobs.submit(request())
    until(lambda: backend.work.began)
    # As if the clock had been set forward since.
    with backend.store._engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET started_at = started_at - 36000"))
    backend.jobs.cancel(FILE)
    if is_deleted:
        backend.store.forget_file(FILE)
    until(lambda: any(one.running_s for one in backend.work.ended))
    assert {one.job_id for one in backend.work.ended} == {job.job_id}
    assert sum(one.running_s for one in backend.work.ended) < 3600


def test_a_job_that_is_canceled_while_it_is_read_is_not_queued(backend: Backend) -> None:
    """The state and the place in the queue are read by two statements."""
    running = backend.jobs.submit(request("running"))
    until(lambda: backend.work.began)
    waiting = backend.jobs.submit(request("waiting", file_id="e" * 32))

    reader = threading.get_ident()
    canceled: list[str] = []

    def cancel(*_: Any) -> None:
        """After the first statement of the reading thread."""
        if threading.get_ident() == reader and not canceled:
            canceled.append(waiting.job_id)
            backend.jobs.cancel(waiting.request.file_id)

    event.listen(Engine, "after_cursor_execute", cancel)
    try:
        read = backend.store.get(waiting.job_id)
    finally:
        event.remove(Engine, "after_cursor_execute", cancel)
    assert canceled
    assert read is not None and (read.state, read.place) == (State.CANCELED, None)
    backend.work.go.set()
    ended(backend, running)


def test_a_failure_has_its_cause(backend: Backend) -> None:
    def fail(_job: Job, _report: Report) -> dict[str, Any]:
        raise NotAudio("It is a picture.")

    backend.work.act = fail
    backend.work.go.set()
    failed = ended(backend, backend.jobs.submit(request()))
    assert failed.state is State.FAILED and failed.error is not None
    assert failed.error == {"code": "not_audio", "error": "It is a picture."}


class Panic(BaseException):
    """As of extensions in Rust."""


@pytest.mark.parametrize("error", [SystemExit, Panic])
def test_no_error_of_a_job_ends_the_thread_that_runs_jobs(
    backend: Backend, error: type[BaseException]
) -> None:
    def fail(_job: Job, _report: Report) -> dict[str, Any]:
        raise error

    backend.work.act = fail
    backend.work.go.set()
    failed = ended(backend, backend.jobs.submit(request()))
    assert failed.state is State.FAILED and failed.error is not None
    assert failed.error["code"] == "internal_error" and error.__name__ in failed.error["error"]
    backend.work.act = lambda _job, _report: RESULT
    assert ended(backend, backend.jobs.submit(request("next"))).state is State.COMPLETED


def test_a_file_in_use_is_left_alone(backend: Backend) -> None:
    job = backend.jobs.submit(request())
    acted: list[str] = []
    backend.jobs.while_idle(FILE, lambda: acted.append("used"))
    assert acted == []
    backend.work.go.set()
    ended(backend, job)
    backend.jobs.while_idle(FILE, lambda: acted.append("idle"))
    assert acted == ["idle"]


def test_an_overtaken_attempt_changes_nothing(backend: Backend) -> None:
    """It finds at its end that the job was given to another attempt, which has other results."""
    late = threading.Event()

    def act(job: Job, _report: Report) -> dict[str, Any]:
        if job.attempt == 1:
            assert late.wait(WAIT_S)
        return {"attempt": job.attempt}

    backend.work.act = act
    backend.work.go.set()
    job = backend.jobs.submit(request())
    until(lambda: backend.work.began)
    first = backend.store.get(job.job_id)
    assert first is not None
    backend.store.requeue(first)
    assert not backend.store.report(first, "separating", 0.9, None)
    assert not backend.store.finish(first, State.COMPLETED, result={"attempt": 1})
    late.set()
    done = ended(backend, job)
    assert (done.state, done.attempt, done.result) == (State.COMPLETED, 2, {"attempt": 2})
    assert done.result_id.name == f"{job.job_id}-2"
    assert backend.work.discarded == [job.job_id]
