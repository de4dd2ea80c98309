"""Jobs: first come first served, bounded, canceled, failed, recovered; on a real database."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from studio.errors import NotAudio, NothingToCancel, QueueFull, UnknownOption
from studio.jobs.database import Connections, connect
from studio.jobs.execution import Executor
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from tests.support.server import WAIT_S, until

RESULT = {"stems": ["vocals"]}
FILE = "f" * 32


def request(name: str = "a", file_id: str = FILE) -> Request:
    return Request(file_id, "demucs", "tiny", {"shifts": 0}, f"fingerprint of {name}")


class Work:
    """What the jobs of a test do: wait for `go`, note their order, answer or raise."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began: list[str] = []
        self.discarded: list[str] = []
        self.ended: list[Job] = []
        self.act: Callable[[Job, Report], dict[str, Any]] = lambda _job, _report: RESULT

    def __call__(self, job: Job, report: Report) -> dict[str, Any]:
        self.began.append(job.job_id)
        while not self.go.wait(0.01):
            report("separating", 0.0)
        return self.act(job, report)

    def discard(self, job: Job) -> None:
        self.discarded.append(job.job_id)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"


@contextmanager
def open_store(database: str) -> Iterator[JobStore]:
    store = JobStore(connect(database))
    store.open()
    yield store
    store.close()


@contextmanager
def running(
    store: JobStore, work: Work, workers: int = 1, max_queued: int = 10
) -> Iterator[JobRunner]:
    executor = Executor(store, {"demucs": work}, work.discard)
    runner = JobRunner(store, executor, workers=workers, max_queued=max_queued)
    runner.start()
    try:
        yield runner
    finally:
        work.go.set()
        runner.stop()


@pytest.fixture
def store(database: str) -> Iterator[JobStore]:
    with open_store(database) as store:
        yield store


@pytest.fixture
def work() -> Work:
    return Work()


def finished(store: JobStore, runner: JobRunner, job: Job) -> Job:
    runner.wait(job.job_id, timeout_s=WAIT_S)
    found = store.get(job.job_id)
    assert found is not None and found.state.is_final, found
    return found


def state(store: JobStore, job: Job) -> State:
    found = store.get(job.job_id)
    assert found is not None
    return found.state


def test_a_job_from_beginning_to_end(store: JobStore, work: Work) -> None:
    before = time.time()
    with running(store, work) as runner:
        job = runner.submit(request())
        assert (job.state, job.progress, job.attempts) == (State.QUEUED, 0.0, 0)
        work.go.set()
        done = finished(store, runner, job)
    assert (done.state, done.stage, done.progress) == (State.COMPLETED, "done", 1.0)
    assert (done.result, done.error, done.eta_s, done.place) == (RESULT, None, None, None)
    assert done.request == request()
    assert done.attempts == 1
    assert done.started_at is not None and done.finished_at is not None
    assert before <= done.created_at <= done.started_at <= done.finished_at <= time.time()


def test_first_come_first_served(store: JobStore, work: Work) -> None:
    with running(store, work) as runner:
        jobs = [runner.submit(request(str(number))) for number in range(6)]
        until(lambda: work.began)
        waiting = [store.get(job.job_id) for job in jobs]
        assert [job.place for job in waiting if job] == [None, 1, 2, 3, 4, 5]
        assert store.count(State.PROCESSING) == 1
        work.go.set()
        for job in jobs:
            finished(store, runner, job)
    assert work.began == [job.job_id for job in jobs]


def test_two_workers_do_two_jobs_at_once(store: JobStore, work: Work) -> None:
    both = threading.Barrier(2)

    def meet(_job: Job, _report: Report) -> dict[str, Any]:
        both.wait(timeout=WAIT_S)
        return RESULT

    work.act = meet
    work.go.set()
    with running(store, work, workers=2) as runner:
        jobs = [runner.submit(request(str(number))) for number in range(4)]
        states = [finished(store, runner, job).state for job in jobs]
    assert states == [State.COMPLETED] * 4
    assert sorted(work.began) == sorted(job.job_id for job in jobs)


def test_the_queue_is_bounded(store: JobStore, work: Work) -> None:
    with running(store, work, max_queued=2) as runner:
        first = runner.submit(request("0"))
        until(lambda: work.began)
        runner.submit(request("1"))
        runner.submit(request("2"))
        with pytest.raises(QueueFull) as caught:
            runner.submit(request("3"))
        assert caught.value.extra["retry_after_s"] > 0
        assert runner.submit(request("0")).job_id == first.job_id
        work.go.set()
        until(lambda: store.count(State.QUEUED) == 0)
        assert finished(store, runner, runner.submit(request("3"))).state is State.COMPLETED


def test_the_same_request_is_answered_with_its_job(store: JobStore, work: Work) -> None:
    with running(store, work) as runner:
        first, second = runner.submit(request("a")), runner.submit(request("b"))
        until(lambda: work.began)
        assert runner.submit(request("a")).job_id == first.job_id
        assert runner.submit(request("b")).job_id == second.job_id
        other_file = runner.submit(request("a", file_id="e" * 32))
        assert other_file.job_id != first.job_id
        work.go.set()
        finished(store, runner, first)
        assert runner.submit(request("a")).job_id != first.job_id


def test_many_callers_at_once_start_one_job(store: JobStore, work: Work) -> None:
    found: list[str] = []
    with running(store, work) as runner:
        threads = [
            threading.Thread(target=lambda: found.append(runner.submit(request()).job_id))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 12
    assert len(set(found)) == len(store.of_file(FILE)) == 1


def test_a_waiting_job_is_canceled(store: JobStore, work: Work) -> None:
    with running(store, work) as runner:
        first = runner.submit(request("a", file_id="e" * 32))
        until(lambda: work.began)
        second = runner.submit(request("b"))
        runner.cancel(FILE)
        canceled = store.get(second.job_id)
        assert canceled and canceled.state is State.CANCELED and canceled.finished_at
        work.go.set()
        assert finished(store, runner, first).state is State.COMPLETED
    assert work.began == [first.job_id]


def test_a_running_job_is_canceled(store: JobStore, work: Work) -> None:
    with running(store, work) as runner:
        job = runner.submit(request())
        until(lambda: work.began)
        runner.cancel(FILE)
        assert state(store, job) is State.CANCELED
        following = runner.submit(request("b"))
        until(lambda: len(work.began) == 2)
        work.go.set()
        assert finished(store, runner, following).state is State.COMPLETED
    assert state(store, job) is State.CANCELED
    assert work.discarded == []


def test_a_job_that_is_canceled_in_its_last_moment_is_discarded(
    store: JobStore, work: Work
) -> None:
    with running(store, work) as runner:

        def cancel_then_finish(_job: Job, _report: Report) -> dict[str, Any]:
            runner.cancel(FILE)
            return RESULT

        work.act = cancel_then_finish
        work.go.set()
        job = runner.submit(request())
        until(lambda: work.discarded)
    done = store.get(job.job_id)
    assert done and done.state is State.CANCELED and done.result is None
    assert work.discarded == [job.job_id]


def test_there_may_be_nothing_to_cancel(store: JobStore, work: Work) -> None:
    work.go.set()
    with running(store, work) as runner:
        with pytest.raises(NothingToCancel):
            runner.cancel(FILE)
        finished(store, runner, runner.submit(request()))
        with pytest.raises(NothingToCancel):
            runner.cancel(FILE)


def test_a_failure_carries_its_cause_and_keeps_its_progress(store: JobStore, work: Work) -> None:
    def fail(_job: Job, report: Report) -> dict[str, Any]:
        report("encoding", 0.4)
        raise NotAudio("There is no sound in it.", position_s=12)

    work.act = fail
    work.go.set()
    with running(store, work) as runner:
        failed = finished(store, runner, runner.submit(request()))
    assert failed.state is State.FAILED
    assert failed.error == {
        "code": "not_audio",
        "error": "There is no sound in it.",
        "position_s": 12,
    }
    assert (failed.progress, failed.stage, failed.eta_s) == (0.4, "encoding", None)
    assert failed.result is None


def test_a_defect_is_an_internal_error_without_its_inside(store: JobStore, work: Work) -> None:
    def break_down(_job: Job, _report: Report) -> dict[str, Any]:
        raise RuntimeError("secret: /etc/passwd line 7")

    work.act = break_down
    work.go.set()
    with running(store, work) as runner:
        failed = finished(store, runner, runner.submit(request("a")))
        work.act = lambda _job, _report: RESULT
        assert finished(store, runner, runner.submit(request("b"))).state is State.COMPLETED
    assert failed.error is not None
    assert failed.error["code"] == "internal_error"
    assert failed.progress == 0.0
    for inside in ("secret", "passwd", "Traceback", ".py"):
        assert inside not in str(failed.error)


def test_a_model_without_a_way_to_work_fails_its_job(store: JobStore, work: Work) -> None:
    strange = Request(FILE, "unheard-of", "x", {}, "f")
    with running(store, work) as runner:
        failed = finished(store, runner, runner.submit(strange))
    assert failed.error is not None and failed.error["code"] == "internal_error"


def test_a_final_state_is_set_once(store: JobStore) -> None:
    job = store.add(request())
    store.claim()
    error = {"code": UnknownOption.code, "error": "first"}
    assert store.finish(job, State.FAILED, error=error)
    assert not store.finish(job, State.COMPLETED, result=RESULT)
    assert not store.finish(job, State.CANCELED)
    store.report(job, "separating", 0.9, 3.0)
    store.requeue(job)
    assert store.cancel(FILE) == []
    assert store.claim() is None
    found = store.get(job.job_id)
    assert found and (found.state, found.error, found.progress) == (State.FAILED, error, 0.0)
    assert not store.finish(replace(job, job_id="no such job"), State.COMPLETED, result=RESULT)


def test_wait_returns_when_the_job_is_final_or_gone(store: JobStore, work: Work) -> None:
    with running(store, work) as runner:
        job = runner.submit(request())
        runner.wait(job.job_id, timeout_s=0.05)
        assert not state(store, job).is_final
        timer = threading.Timer(0.1, work.go.set)
        timer.start()
        runner.wait(job.job_id, timeout_s=WAIT_S)
        assert state(store, job) is State.COMPLETED
        runner.wait(job.job_id, timeout_s=WAIT_S)
        store.forget_file(FILE)
        assert store.get(job.job_id) is None
        runner.wait(job.job_id, timeout_s=WAIT_S)


def test_a_worker_survives_a_database_that_fails_for_a_while(
    store: JobStore, work: Work, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work.go.set()
    with (
        running(store, work) as runner,
        closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as database,
    ):
        database.execute("ALTER TABLE jobs RENAME TO away")
        runner._notify()
        until(lambda: "no such table: jobs" in caplog.text)
        database.execute("ALTER TABLE away RENAME TO jobs")
        job = runner.submit(request())
        assert finished(store, runner, job).state is State.COMPLETED


def test_a_job_begins_while_all_connections_read_places(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_reading, is_claiming = threading.Event(), threading.Event()

    def wait_for_claim(*_: Any) -> None:
        if not is_reading.is_set():
            is_reading.set()
            assert is_claiming.wait(WAIT_S)

    class Pool(Connections):
        def connect(self) -> PoolProxiedConnection:
            if is_reading.is_set():
                is_claiming.set()
            return super().connect()

    monkeypatch.setattr("studio.jobs.database.Connections", Pool)
    with open_store(database) as store, ExitStack() as busy, ThreadPoolExecutor(2) as threads:
        job = store.add(request())
        # All but one.
        for _ in range(14):
            busy.enter_context(store._engine.connect())
        event.listen(store._engine, "after_cursor_execute", wait_for_claim)
        read = threads.submit(store.get, job.job_id)
        assert is_reading.wait(WAIT_S)
        claimed = threads.submit(store.claim)
        found, begun = read.result(WAIT_S), claimed.result(WAIT_S)
    assert found and found.place == 1
    assert begun and begun.job_id == job.job_id


def test_other_work_is_given_way_between_the_steps_of_a_job(database: str) -> None:
    with open_store(database) as store:
        work, gave_way = Work(), threading.Semaphore(0)
        executor = Executor(store, {"demucs": work}, work.discard, give_way=gave_way.release)
        runner = JobRunner(store, executor, workers=1, max_queued=10)
        runner.start()
        try:
            runner.submit(request())
            for _ in range(3):
                assert gave_way.acquire(timeout=WAIT_S)
        finally:
            work.go.set()
            runner.stop()
