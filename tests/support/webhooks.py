"""Webhooks that tell receivers on this machine of jobs."""

from pathlib import Path

from studio.jobs.database import connect
from studio.jobs.job import Job, Request, State
from studio.jobs.outbox import Outbox
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks, WebhookSettings
from tests.support.receiver import SECRET

OPEN = WebhookSettings(SECRET, "", allow_private=True)


class WebhookBench:
    """A store, an outbox and the webhooks, with a clock that the test turns."""

    def __init__(self, folder: Path, settings: WebhookSettings = OPEN) -> None:
        engine = connect(f"sqlite:///{folder / 'jobs.sqlite3'}")
        self.store = JobStore(engine)
        self.store.open()
        self.outbox = Outbox(engine)
        self.now = 1000.0
        self._count = 0
        self.webhooks = Webhooks(
            self.outbox, settings, lambda job: {"job_id": job.job_id}, (10.0, 100.0), self.clock
        )

    def clock(self) -> float:
        return self.now

    def add(self, *urls: str, client: str | None = None) -> Job:
        """A job that waits, and the addresses that are to be told of its end."""
        # Unfinished jobs of a file differ in their requests.
        self._count += 1
        job = self.store.add(Request("f" * 32, "demucs", "mini", {}, f"request {self._count}"))
        for url in urls:
            self.store.add_webhook(job.job_id, url, client)
        return job

    def end(self, job: Job, state: State = State.COMPLETED) -> None:
        self.store.finish(job, state)

    def tell(self, client: str, *urls: str) -> Job:
        """A job of a client that has ended, and the addresses to be told of it."""
        job = self.add(*urls, client=client)
        self.end(job)
        return job

    def close(self) -> None:
        self.webhooks.stop()
        self.store.close()
