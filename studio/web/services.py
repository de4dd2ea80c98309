"""What the web layer is handed: the parts of the server, and the few settings it needs."""

from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from studio.inference.warm_up import Readiness, StorageCheck
from studio.jobs.job import Request
from studio.jobs.quota import Quota
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks
from studio.storage.files import Storage, Upload
from studio.web.access import Access
from studio.web.bounds import UploadBounds


class Processor(Protocol):
    @property
    def options(self) -> type[BaseModel]: ...


class Processors(Protocol):
    """The model processors, by name."""

    def names(self) -> list[str]: ...

    def get(self, name: str) -> Processor: ...

    def describe(self) -> dict[str, Any]: ...

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request: ...

    def options(self) -> list[type[BaseModel]]: ...


@dataclass(frozen=True)
class Services:
    storage: Storage
    store: JobStore
    runner: JobRunner
    models: Processors
    uploads: UploadBounds
    version: str
    readiness: Readiness
    storage_check: StorageCheck
    access: Access
    webhooks: Webhooks
    quota: Quota
