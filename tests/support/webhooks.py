"""Webhooks that tell receivers on this machine of jobs."""

from pathlib import Path

from studio.jobs.database import connect
from studio.jobs.job import Job, Request, State
from studio.jobs.outbox import Outbox
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks, WebhookSettings
from tests.support.receiver import SECRET

OPEN = WebhookSettings(SECRET, "", allow_private=True)


class Desk:
    """Jobs that have ended, and the webhooks that tell of them, with threads of their own."""

    def __init__(self, folder: Path, max_per_client: int = 0) -> None:
        engine = connect(f"sqlite:///{folder / 'jobs.sqlite3'}")
        self.store = JobStore(engine)
        self.store.open()
        outbox = Outbox(engine)
        settings = WebhookSettings(SECRET, "", allow_private=True, max_per_client=max_per_client)
        self.now = 1000.0
        self.webhooks = Webhooks(
            outbox, settings, lambda job: {"job_id": job.job_id}, (10.0, 100.0), lambda: self.now
        )

    def tell(self, client: str, *urls: str) -> Job:
        """A job of a client that has ended, and the addresses to be told of it."""
        job = self.store.add(Request("f" * 32, "demucs", "mini", {}, "same"))
        for url in urls:
            self.store.add_webhook(job.job_id, url, client)
        self.store.finish(job, State.COMPLETED)
        return job

    def close(self) -> None:
        self.webhooks.stop()
        self.store.close()
