"""The parts of the server and the settings that the web layer needs."""

from dataclasses import dataclass, field
from pathlib import Path

from studio.concurrency import ConcurrencyLimit
from studio.inference.warm_up import Readiness, StorageCheck
from studio.jobs.intake import Intake
from studio.jobs.jobs import Jobs
from studio.jobs.partials import Partials
from studio.jobs.quota import Quota
from studio.jobs.scale.workers import Workers
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks
from studio.processors import Processors
from studio.storage.storage import Storage
from studio.web.access import Access
from studio.web.bounds import UploadBounds
from studio.web.pace import Pace

# Requests that wait for the end of a job. Each holds a server thread.
MAX_WAITING, MAX_WAITING_PER_CLIENT = 40, 8


@dataclass(frozen=True, kw_only=True)
class Services:
    storage: Storage
    store: JobStore
    runner: Jobs
    intake: Intake
    models: Processors
    uploads: UploadBounds
    upload_pace: Pace
    version: str
    readiness: Readiness
    storage_check: StorageCheck
    # The workers that run the jobs; None: this process does.
    workers: Workers | None
    access: Access
    webhooks: Webhooks
    quota: Quota
    partials: Partials
    # Folder with more fonts for videos.
    fonts: Path | None
    # Signs links and sessions, and makes the IDs of temporary uploads unpredictable.
    secret: str = field(repr=False)
    waiting: ConcurrencyLimit = field(
        default_factory=lambda: ConcurrencyLimit(MAX_WAITING, MAX_WAITING_PER_CLIENT)
    )
