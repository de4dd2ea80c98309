"""The implementations of `Jobs`, each with a database of its own, for tests of what they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

from scripts.services.postgres import Postgres
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.jobs import Jobs
from studio.jobs.runner import JobRunner
from studio.jobs.scale import changes
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.jobs import SharedJobs
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.scale.worker import Worker, WorkerSettings
from studio.jobs.store import JobStore
from tests.support.jobs import Work

MAX_QUEUED, MAX_PER_CLIENT = 3, 2


@dataclass(frozen=True)
class Backend:
    jobs: Jobs
    store: JobStore
    work: Work


@contextmanager
def threads(folder: Path) -> Iterator[Backend]:
    """SQLite, and one thread that runs jobs."""
    work = Work()
    store = JobStore(connect(f"sqlite:///{folder / 'jobs.sqlite3'}"))
    store.open()
    executor = Executor(store, {"demucs": work}, work.discard, on_end=work.ended.append)
    jobs = JobRunner(
        store, executor, workers=1, max_queued=MAX_QUEUED, max_per_client=MAX_PER_CLIENT
    )
    jobs.start()
    yield Backend(jobs, store, work)
    work.go.set()
    jobs.stop()
    store.close()


@contextmanager
def workers(postgres: Postgres) -> Iterator[Backend]:
    """PostgreSQL, and a worker that runs one job at a time."""
    work = Work()
    store = shared_store(postgres.new_database(f"test{uuid4().hex}"))
    jobs = SharedJobs(store, Changes(store.url), work.ended.append)
    # Both look soon whether to stop.
    with patch.object(changes, "LOOK_EVERY_S", 0.05):
        jobs.start()
        worker = start_worker(store, work)
        yield Backend(jobs, store, work)
        work.go.set()
        worker.stop(30.0)
        jobs.stop()
    store.close()


def shared_store(url: str) -> SharedJobStore:
    store = SharedJobStore(connect(url), max_queued=MAX_QUEUED, max_per_client=MAX_PER_CLIENT)
    store.open()
    return store


def start_worker(store: SharedJobStore, work: Work, concurrency: int = 1) -> Worker:
    executor = Executor(
        store, {"demucs": work}, work.discard, on_end=work.ended.append, report_every_s=0.1
    )
    settings = WorkerSettings((), concurrency, heartbeat_s=0.5, stalled_s=1.5)
    worker = Worker(store, executor, Changes(store.url), settings)
    worker.start()
    return worker
