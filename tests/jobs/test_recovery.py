"""Jobs outlive the process that runs them; progress and time to go are measured."""

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from studio.errors import Interrupted, StorageUnavailable
from studio.jobs import execution
from studio.jobs.database import connect
from studio.jobs.job import Job, Report, State
from studio.jobs.store import MAX_ATTEMPTS, JobStore
from tests.support.jobs import FILE, RESULT, Work, finished, open_store, request, running
from tests.support.server import until


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"


def crash(database: str) -> None:
    """Begin the next job and never end it."""
    with open_store(database) as store:
        assert store.claim() is not None


def test_an_interrupted_job_runs_again(database: str) -> None:
    with open_store(database) as store:
        job = store.add(request())
        store.claim()
        store.report(job, "separating", 0.7, 12.0)
    work = Work()
    with open_store(database) as store, running(store, work) as runner:
        until(lambda: work.began)
        work.go.set()
        done = finished(store, runner, job)
    assert (done.state, done.attempts) == (State.COMPLETED, 2)


def test_what_was_interrupted_waits_again_at_its_old_place(database: str) -> None:
    with open_store(database) as store:
        first = store.add(request("a"))
        second = store.add(request("b"))
        store.claim()
        store.report(first, "separating", 0.7, 12.0)
        store.recover({})
        found = [store.get(job.job_id) for job in (first, second)]
    assert [job.place for job in found if job] == [1, 2]
    again = found[0]
    assert again is not None
    assert (again.state, again.stage, again.progress) == (State.QUEUED, "waiting", 0.0)
    assert (again.eta_s, again.started_at) == (None, None)


def test_a_job_that_brings_the_server_down_fails_after_its_last_attempt(database: str) -> None:
    with open_store(database) as store:
        job = store.add(request("bad"))
        following = store.add(request("good"))
    work = Work()
    for _ in range(MAX_ATTEMPTS - 1):
        crash(database)
        with open_store(database) as store:
            store.recover({})
    crash(database)
    work.go.set()
    with open_store(database) as store, running(store, work) as runner:
        failed = finished(store, runner, job)
        assert finished(store, runner, following).state is State.COMPLETED
    assert (failed.state, failed.attempts) == (State.FAILED, 3)
    assert failed.error is not None and failed.error["code"] == Interrupted.code
    assert "start the job again" in failed.error["error"]
    assert failed.finished_at is not None
    assert work.began == [following.job_id]


def test_final_jobs_are_left_alone_by_a_recovery(database: str) -> None:
    with open_store(database) as store:
        jobs = []
        for number, final in enumerate((State.COMPLETED, State.FAILED, State.CANCELED)):
            job = store.add(request(str(number)))
            store.claim()
            store.finish(job, final, result=RESULT if final is State.COMPLETED else None)
            jobs.append(store.get(job.job_id))
        store.recover({})
        assert [store.get(job.job_id) for job in jobs if job] == jobs


def test_stop_puts_running_jobs_back_without_counting_the_attempt(database: str) -> None:
    work = Work()
    with open_store(database) as store:
        with running(store, work, workers=2) as runner:
            jobs = [runner.submit(request(str(number))) for number in range(3)]
            until(lambda: len(work.began) == 2)
            runner.stop()
            found = [store.get(job.job_id) for job in jobs]
        assert [job.state for job in found if job] == [State.QUEUED] * 3
        assert [job.attempts for job in found if job] == [0, 0, 0]
        assert [job.place for job in found if job] == [1, 2, 3]
        assert work.discarded == []
    again = Work()
    again.go.set()
    with open_store(database) as store, running(store, again) as runner:
        assert [finished(store, runner, job).state for job in jobs] == [State.COMPLETED] * 3
    assert again.began == [job.job_id for job in jobs]


def test_stopping_many_times_does_not_use_up_the_attempts(database: str) -> None:
    with open_store(database) as store:
        job = store.add(request())
        for _ in range(MAX_ATTEMPTS + 2):
            work = Work()
            with running(store, work) as runner:
                until(partial(getattr, work, "began"))
                runner.stop()
        last = Work()
        last.go.set()
        with running(store, last) as runner:
            assert finished(store, runner, job).attempts == 1


def test_a_canceled_job_stays_canceled_when_the_server_stops(database: str) -> None:
    work = Work()
    with open_store(database) as store:
        with running(store, work) as runner:
            job = runner.submit(request())
            until(lambda: work.began)
            runner.cancel(FILE)
            runner.stop()
        found = store.get(job.job_id)
    assert found is not None and found.state is State.CANCELED


def test_the_time_to_go_is_measured_or_absent(database: str) -> None:
    seen: list[Job] = []
    times: list[float] = []

    def act(job: Job, report: Report) -> dict[str, Any]:
        for stage, progress in (("one", 0.0), ("one", 0.2), ("one", 0.6), ("two", 0.6)):
            times.append(time.monotonic())
            report(stage, progress)
            times.append(time.monotonic())
            found = store.get(job.job_id)
            assert found is not None
            seen.append(found)
            time.sleep(0.25)
        return RESULT

    work = Work()
    work.act = act
    work.go.set()
    with open_store(database) as store, running(store, work) as runner:
        queued = runner.submit(request())
        done = finished(store, runner, queued)
    assert [job.progress for job in seen] == [0.0, 0.2, 0.6, 0.6]
    assert (queued.eta_s, done.eta_s) == (None, None)
    assert seen[0].eta_s is None
    assert seen[3].eta_s is None  # another stage, whose speed nobody knows yet
    for number, share in ((1, 0.2), (2, 0.6)):
        shortest = times[2 * number] - times[1]
        longest = times[2 * number + 1] - times[0]
        eta_s = seen[number].eta_s
        assert eta_s is not None
        assert shortest / share * (1 - share) <= eta_s <= longest / share * (1 - share)


def test_reports_that_follow_each_other_closely_spare_the_database(database: str) -> None:
    def act(job: Job, report: Report) -> dict[str, Any]:
        writes = []
        for number in range(2_000):
            report("one", number / 2_000)
            found = store.get(job.job_id) if number % 100 == 0 else None
            writes += [found.progress] if found else []
        assert len(set(writes)) < len(writes)
        assert writes == sorted(writes)
        return RESULT

    work = Work()
    work.act = act
    work.go.set()
    with open_store(database) as store, running(store, work) as runner:
        assert finished(store, runner, runner.submit(request())).state is State.COMPLETED


def test_the_database_writes_ahead_and_may_lie_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.db"
    with open_store(f"sqlite:///{path}") as store:
        job = store.add(request())
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert other.execute("SELECT job_id FROM jobs").fetchone() == (job.job_id,)


def test_readers_are_not_held_up_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with open_store(f"sqlite:///{path}") as store, closing(sqlite3.connect(path)) as writer:
        job = store.add(request())
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE jobs SET stage = 'changed'")
        found = store.get(job.job_id)
        assert found is not None and found.stage == "waiting"
        writer.rollback()


def test_jobs_of_a_file_the_latest_first(database: str) -> None:
    with open_store(database) as store:
        jobs = [store.add(request(str(number))) for number in range(3)]
        other = store.add(request("0", file_id="e" * 32))
        found = [job.job_id for job in store.of_file(FILE)]
        assert found == [job.job_id for job in reversed(jobs)]
        same = store.unfinished(request("0"))
        assert same is not None and same.job_id == jobs[0].job_id
        store.forget_file(FILE)
        assert store.of_file(FILE) == []
        assert [job.job_id for job in store.of_file("e" * 32)] == [other.job_id]


def test_a_job_whose_result_is_known_is_completed_at_once(database: str) -> None:
    with open_store(database) as store:
        job = store.add(request(), job_id=JobStore.new_id(), result=RESULT)
        assert (job.state, job.progress, job.result) == (State.COMPLETED, 1.0, RESULT)
        assert job.finished_at is not None
        assert store.claim() is None


class LosesAnAnswer(JobStore):
    """Stores the first final state, but the connection breaks before the answer."""

    is_lost = False

    def finish(self, *args: Any, **more: Any) -> bool:
        is_first = super().finish(*args, **more)
        if not self.is_lost:
            self.is_lost = True
            raise OperationalError("UPDATE jobs", None, ConnectionError("the answer was lost"))
        return is_first


def test_an_end_whose_answer_was_lost_keeps_its_results(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_S", 0.02)
    work, store = Work(), LosesAnAnswer(connect(database))
    store.open()
    with running(store, work) as runner:
        job = runner.submit(request())
        work.go.set()
        assert finished(store, runner, job).state is State.COMPLETED
        # The next one begins when this one has been dealt with.
        finished(store, runner, runner.submit(request("b")))
    assert store.is_lost and work.discarded == []
    store.close()


def test_a_job_waits_for_its_files_and_can_be_canceled_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_S", 0.02)
    failures = iter([True, True, False])

    def act(_job: Job, _report: Report) -> dict[str, Any]:
        if next(failures, True):
            raise StorageUnavailable("The object store does not respond.", retry_after_s=10)
        return RESULT

    work = Work()
    work.act = act
    work.go.set()
    with open_store(database) as store, running(store, work) as runner:
        done = finished(store, runner, runner.submit(request("a")))
        assert (done.state, done.attempts, work.began) == (State.COMPLETED, 1, [done.job_id] * 3)
        waiting = runner.submit(request("b"))
        until(lambda: stage(store, waiting) == "waiting for files")
        runner.cancel(FILE)
        assert finished(store, runner, waiting).state is State.CANCELED


def stage(store: JobStore, job: Job) -> str:
    found = store.get(job.job_id)
    assert found is not None
    return found.stage
