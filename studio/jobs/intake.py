"""Takes requests for jobs, and removes files with their jobs: one after the other for each file."""

import logging
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from studio.errors import NothingToCancel
from studio.jobs.job import Job, Request
from studio.jobs.jobs import Jobs
from studio.jobs.quota import Quota
from studio.jobs.reuse import completed_before
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks
from studio.storage.storage import Storage

log = logging.getLogger(__name__)

LOCKS = 64


class Intake:
    """The one place where jobs begin."""

    def __init__(
        self,
        storage: Storage,
        store: JobStore,
        runner: Jobs,
        *,
        quota: Quota,
        webhooks: Webhooks,
    ) -> None:
        self._storage = storage
        self._store = store
        self._runner = runner
        self._quota = quota
        self._webhooks = webhooks
        self._locks = [Lock() for _ in range(LOCKS)]

    def submit(self, request: Request, client: str, webhook: str | None = None) -> Job:
        """The job for a request: a completed or unfinished one for the same request, or a new one.

        Raises UnknownFile if the upload was removed meanwhile, QuotaExceeded, QueueFull or
        TooManyJobs.
        """
        with self._lock(request.file_id):
            owner = self._storage.upload(request.file_id).owner
            # In this order, because an unfinished job may complete at any time.
            job = self._join(request, client, webhook) or completed_before(
                self._store, self._storage, request, owner=owner, webhook=webhook, client=client
            )
            if job is None:
                self._quota.check_work(client)
                self._quota.check_bytes(owner)
                job = self._runner.submit(request, client, webhook)
        if webhook is not None:
            self._webhooks.wake()
        return job

    def _join(self, request: Request, client: str, webhook: str | None) -> Job | None:
        """The unfinished job for the same request; `webhook` receives the message about its end."""
        job = self._store.unfinished(request)
        if job is not None and webhook is not None:
            self._store.add_webhook(job.job_id, webhook, client)
        return job

    def remove(self, file_id: str) -> None:
        """Cancel the jobs of a file, and delete it with its results. Raises UnknownFile."""
        with self._lock(file_id):
            self._storage.upload(file_id)
            try:
                self._runner.cancel(file_id)
            except NothingToCancel:
                pass
            delete = self._storage.hide(file_id)
            try:
                self._store.forget_file(file_id)
            except SQLAlchemyError:
                # The disk may be full: free its space. A later sweep deletes the jobs.
                log.warning("cannot delete the jobs of the file %s yet", file_id, exc_info=True)
        delete()

    def _lock(self, file_id: str) -> Lock:
        return self._locks[hash(file_id) % LOCKS]
