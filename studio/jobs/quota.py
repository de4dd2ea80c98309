"""Quotas: storage per API key, and processing time per client and day."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from studio.errors import QuotaExceeded
from studio.jobs.job import Job
from studio.jobs.usage import HOUR_S, Usage
from studio.storage.storage import Storage

log = logging.getLogger(__name__)


class Quota:
    """Limits of `max_bytes` for uploads and results, and `max_minutes` of processing (0: none)."""

    def __init__(self, storage: Storage, usage: Usage, max_bytes: int, max_minutes: int) -> None:
        self._storage = storage
        self._usage = usage
        self._max_bytes = max_bytes
        self._max_minutes = max_minutes

    def used_bytes(self, owner: str) -> tuple[int, int] | None:
        """Bytes that a key's files and results take, and its limit; None without a limit."""
        if not self._max_bytes:
            return None
        return self._storage.used_bytes_of(owner), self._max_bytes

    def worked_min(self, client: str) -> tuple[float, int] | None:
        """Minutes of a client's jobs in the last day, and its limit; None without a limit."""
        if not self._max_minutes:
            return None
        return self._usage.worked_s(client) / 60, self._max_minutes

    def check_bytes(self, owner: str | None, needed_bytes: int = 0) -> None:
        """Raise QuotaExceeded if a key would exceed its storage quota."""
        if not self._max_bytes or owner is None:
            return
        used_bytes = self._storage.used_bytes_of(owner)
        if used_bytes + needed_bytes >= self._max_bytes:
            raise QuotaExceeded(
                f"Your files and results take {used_bytes / 1e6:,.0f} MB, the request needs "
                f"{needed_bytes / 1e6:,.0f} MB more, and your key is limited to "
                f"{self._max_bytes / 1e6:,.0f} MB. Delete files that you no longer need "
                "(DELETE /cleanup/<file_id>)."
            )

    def check_work(self, client: str) -> None:
        """Raise QuotaExceeded if a client has used up its processing time."""
        if not self._max_minutes:
            return
        worked_min = self._usage.worked_s(client) / 60
        if worked_min >= self._max_minutes:
            raise QuotaExceeded(
                f"Your jobs ran for {worked_min:,.0f} min in the last 24 hours; the limit is "
                f"{self._max_minutes:,} min. Retry in an hour or later.",
                retry_after_s=HOUR_S,
            )

    def charge(self, job: Job) -> None:
        """Count the processing time of a job that has ended."""
        if not self._max_minutes or not job.client or not job.running_s:
            return
        try:
            self._usage.add(job.client, job.running_s)
        except SQLAlchemyError:
            log.exception("could not count the processing time of job %s", job.job_id)
