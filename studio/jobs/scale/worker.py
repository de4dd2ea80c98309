"""Takes jobs from the queue in PostgreSQL and runs them in this process."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread

from sqlalchemy.exc import OperationalError

from studio.inference.worker_threads import WorkerThreads
from studio.jobs.execution import Attempt, Executor
from studio.jobs.job import Job
from studio.jobs.scale import entries
from studio.jobs.scale.changes import Changes, conninfo
from studio.jobs.scale.connector import keep_beating, patient_connector
from studio.jobs.scale.store import SharedJobStore

log = logging.getLogger(__name__)

RETRY_S = 1.0
# A worker that starts deletes workers without a heartbeat for this many times `stalled_s`. Their
# jobs are lost at once, and after an outage of the database all workers may look dead.
KEPT_FACTOR = 1000


@dataclass(frozen=True)
class WorkerSettings:
    """`queues` to take jobs from (none: all), `concurrency` jobs at a time.

    The worker sends a heartbeat every `heartbeat_s`, and is dead after `stalled_s` without one.
    """

    queues: Sequence[str]
    concurrency: int
    heartbeat_s: float
    stalled_s: float


class Worker:
    """A worker of Procrastinate on a thread of its own."""

    def __init__(
        self,
        store: SharedJobStore,
        executor: Executor,
        changes: Changes,
        settings: WorkerSettings,
    ) -> None:
        self._store = store
        self._executor = executor
        self._changes = changes
        self._settings = settings
        self._threads = WorkerThreads(settings.concurrency)
        # Two of one job, if it was given to this worker again while it was frozen.
        self._running: set[Attempt] = set()
        self._lock = Lock()
        self._stopping = Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = Thread(target=self._serve, name="worker", daemon=True)
        changes.add_listener(self._heard)

    def start(self) -> None:
        self._changes.start()
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop: running jobs end at their next report and are queued again."""
        self._executor.stop()
        with self._lock:
            self._stopping.set()
            for attempt in self._running:
                attempt.end.set()
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout_s)
        self._changes.stop()

    def _serve(self) -> None:
        with self._threads:
            asyncio.run(self._work())

    async def _work(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        while not self._stopping.is_set():
            try:
                await self._run_worker()
            except asyncio.CancelledError:
                return
            except Exception:
                # For example, others took this worker for dead while it was frozen.
                log.exception("the worker ended because of an error; starting it again")
                await asyncio.sleep(RETRY_S)

    async def _run_worker(self) -> None:
        from procrastinate import App

        settings = self._settings
        app = App(connector=patient_connector(conninfo(self._store.url), self._stopping.is_set))
        keep_beating(app)
        app.task(name=entries.TASK)(self._do)
        async with app.open_async():
            await app.run_worker_async(
                queues=settings.queues or None,  # type: ignore[arg-type]
                concurrency=settings.concurrency,
                update_heartbeat_interval=settings.heartbeat_s,
                stalled_worker_timeout=KEPT_FACTOR * settings.stalled_s,
                delete_jobs="always",
                install_signal_handlers=False,
            )

    async def _do(self, job_id: str, attempt: int) -> None:
        future = self._threads.submit(self._run, job_id, attempt)
        # A job ends by its report, not by canceling the task that awaits it.
        await asyncio.shield(asyncio.wrap_future(future))

    def _run(self, job_id: str, number: int) -> None:
        job = self._begin(job_id, number)
        if job is None:
            return
        attempt = self._executor.attempt(job)
        with self._lock:
            self._running.add(attempt)
            if self._stopping.is_set():
                attempt.end.set()
        try:
            self._executor.run(attempt)
        finally:
            with self._lock:
                self._running.remove(attempt)

    def _begin(self, job_id: str, number: int) -> Job | None:
        """Mark a job as processing, once the database can be written; None if it was taken away."""
        while True:
            try:
                return self._store.begin(job_id, number)
            except OperationalError as error:
                log.warning("cannot begin job %s yet: %s", job_id, error)
                if self._stopping.wait(RETRY_S):
                    return None

    def _heard(self, job_id: str | None) -> None:
        """End an attempt whose job was canceled, deleted or given to another worker."""
        with self._lock:
            attempts = [one for one in self._running if job_id in (one.job.job_id, None)]
        for attempt in attempts:
            if not self._store.owns(attempt.job):
                attempt.end.set()
