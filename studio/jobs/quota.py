"""What one API key may store, and how long its jobs may work in a day."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from studio.errors import QuotaExceeded
from studio.jobs.job import Job
from studio.jobs.usage import HOUR_S, Usage
from studio.storage.files import Storage

log = logging.getLogger(__name__)


class Quota:
    """`max_bytes` of a key's uploads and results, `max_minutes` of work; 0 is no bound."""

    def __init__(self, storage: Storage, usage: Usage, max_bytes: int, max_minutes: int) -> None:
        self._storage = storage
        self._usage = usage
        self._max_bytes = max_bytes
        self._max_minutes = max_minutes

    def check_bytes(self, owner: str | None, needed_bytes: int = 0) -> None:
        """Raise QuotaExceeded when a key would store more than it may."""
        if not self._max_bytes or owner is None:
            return
        used_bytes = self._storage.used_bytes_of(owner)
        if used_bytes + needed_bytes >= self._max_bytes:
            raise QuotaExceeded(
                f"Your files and results take {used_bytes / 1e6:,.0f} MB of the "
                f"{self._max_bytes / 1e6:,.0f} MB of your key, and {needed_bytes / 1e6:,.0f} MB "
                "more are needed. Delete files that are no longer wanted "
                "(DELETE /cleanup/<file_id>)."
            )

    def check_work(self, client: str) -> None:
        """Raise QuotaExceeded when a client's jobs have worked for as long as they may."""
        if not self._max_minutes:
            return
        worked_min = self._usage.worked_s(client) / 60
        if worked_min >= self._max_minutes:
            raise QuotaExceeded(
                f"Your jobs worked for {worked_min:,.0f} min in the last 24 hours; "
                f"{self._max_minutes:,} min are allowed. Try again in an hour or later.",
                retry_after_s=HOUR_S,
            )

    def charge(self, job: Job) -> None:
        """Count the work of a job that has ended."""
        if not self._max_minutes or not job.client or not job.started_at or not job.finished_at:
            return
        try:
            self._usage.add(job.client, max(0.0, job.finished_at - job.started_at))
        except SQLAlchemyError:
            log.exception("the work of job %s could not be counted", job.job_id)
