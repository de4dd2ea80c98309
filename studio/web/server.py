"""The routes about the server: health, readiness and models."""

from flask import Response

from studio.inference.warm_up import READY
from studio.jobs.counts import JobCounts
from studio.web import schemas
from studio.web.operations import operation
from studio.web.services import Services
from studio.web.views import Views, answer


class ServerViews(Views):
    """The state of the server and its models."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._counts = JobCounts(services.store)

    @operation(
        name="check_health",
        tag="server",
        summary="Check liveness",
        answers={200: schemas.Health},
        is_open=True,
        rate="none",
    )
    def health(self) -> Response:
        queued, processing = self._counts.latest() or (None, None)
        return answer(
            schemas.Health(
                status="healthy",
                message="AI Model Backend with WebSocket support is running",
                available_models=self._models.names(),
                websocket_support=True,
                transcription_endpoint="/transcribe",
                version=self._services.version,
                jobs_queued=queued,
                jobs_processing=processing,
            )
        )

    @operation(
        name="check_readiness",
        tag="server",
        summary="Check readiness: models are loaded, and the disk and the database are writable",
        answers={200: schemas.Ready, 503: schemas.Ready},
        is_open=True,
        rate="none",
    )
    def ready(self) -> Response:
        readiness = self._services.readiness
        storage = self._services.storage_check.states()
        body = schemas.Ready(
            ready=readiness.is_ready and set(storage.values()) == {READY},
            models=readiness.states,
            notes=readiness.notes,
            storage=storage,
            workers=self._running_workers(storage),
        )
        return answer(body, 200 if body.ready else 503)

    def _running_workers(self, storage: dict[str, str]) -> int | None:
        workers = self._services.workers
        if workers is None or storage["database"] != READY:
            return None
        return len(workers.living())

    @operation(
        name="list_models",
        tag="server",
        summary="List models, their variants and the location of their weights",
        answers={200: schemas.Models},
    )
    def models(self) -> Response:
        return answer(schemas.Models(models=self._models.describe()))
