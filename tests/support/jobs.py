"""Jobs of tests: a request, its work, and a store and a runner for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from tests.support.server import WAIT_S

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


def finished(store: JobStore, runner: JobRunner, job: Job) -> Job:
    runner.wait(job.job_id, timeout_s=WAIT_S)
    found = store.get(job.job_id)
    assert found is not None and found.state.is_final, found
    return found


def state(store: JobStore, job: Job) -> State:
    found = store.get(job.job_id)
    assert found is not None
    return found.state
