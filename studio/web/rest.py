"""The REST routes: upload, process, status, download, files, cleanup."""

import re

from flask import Blueprint, Flask, Response, request

from studio.errors import (
    AudioTooLong,
    AudioTruncated,
    AudioUnsupported,
    BadFilename,
    BadRequest,
    DiskFull,
    EmptyFile,
    FileTooLarge,
    InvalidJson,
    InvalidOption,
    NoFile,
    NotAudio,
    NothingToCancel,
    NotReady,
    QueueFull,
    QuotaExceeded,
    StorageUnavailable,
    TextUnreadable,
    TooManyJobs,
    TooManyUploads,
    TooManyWebhooks,
    UnknownFile,
    UnknownFormat,
    UnknownModel,
    UnknownOption,
    UnknownStem,
    UnknownVariant,
    UnsupportedFileType,
    UnsupportedMediaType,
    UploadTooSlow,
    WrongFileType,
)
from studio.inference.warm_up import READY
from studio.jobs.body import WEBHOOK, with_query
from studio.jobs.counts import JobCounts
from studio.jobs.job import State
from studio.storage.uploads import unknown_file
from studio.web import answers, editing, receiving, schemas
from studio.web.access import asked_operation
from studio.web.editing import EditViews
from studio.web.links import Links, LinkViews
from studio.web.listing import ListViews
from studio.web.mixes import MixViews
from studio.web.operations import ANY_MODEL, Parameter, operation
from studio.web.originals import OriginalViews
from studio.web.services import Services
from studio.web.session import CookieSessions, SessionViews
from studio.web.tickets import Tickets
from studio.web.tracks import TrackViews
from studio.web.videos import VideoViews
from studio.web.views import POLL_AFTER_S, Views, answer, has_left

MAX_WAIT_S = 60
MAX_PARTIAL_FROM = 999_999_999
# The longest useful options are a few kB.
MAX_JSON_BYTES = 1 << 16
# float() also accepts "1_0", "infinity" and digits of other scripts.
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")

# The model of the legacy route /separate/<file_id>.
SEPARATE_MODEL = "demucs"
PROCESS_ERRORS = (
    InvalidJson,
    UnknownOption,
    InvalidOption,
    UnknownVariant,
    UnknownStem,
    UnknownFormat,
    UnknownFile,
    WrongFileType,
    NotReady,
    UnsupportedMediaType,
    FileTooLarge,
    QueueFull,
    TooManyJobs,
    TooManyWebhooks,
    QuotaExceeded,
    DiskFull,
    StorageUnavailable,
)


def register(app: Flask, services: Services) -> None:
    """Add all REST routes to the application."""
    views, tracks, mixes = JobViews(services), TrackViews(services), MixViews(services)
    tickets = Tickets(services.secret)
    services.access.accept(Links(tickets, services.access, services.storage).owner)
    services.access.accept(CookieSessions(tickets, services.access).owner)
    listed, edits = ListViews(services), EditViews(services)
    originals = OriginalViews(services)
    videos = VideoViews(services)
    links, sessions = LinkViews(services, tickets), SessionViews(services, tickets)
    blueprint = Blueprint("rest", __name__)
    for rule, method, view in (
        ("/health", "GET", views.health),
        ("/ready", "GET", views.ready),
        ("/models", "GET", views.models),
        ("/upload", "POST", views.upload),
        ("/process/<model>/<file_id>", "POST", views.process),
        ("/separate/<file_id>", "POST", views.separate),
        ("/status/<file_id>", "GET", views.status),
        ("/cancel/<file_id>", "POST", views.cancel),
        ("/download/<file_id>/all.zip", "GET", tracks.archive),
        ("/download/<file_id>/stems.<file_format>", "GET", tracks.stems),
        ("/download/<file_id>/mix.<file_format>", "GET", mixes.mix),
        ("/download/<file_id>/original", "GET", originals.original),
        ("/download/<file_id>/karaoke.mp4", "GET", videos.karaoke),
        ("/download/<file_id>/<track>", "GET", tracks.download),
        ("/files", "GET", listed.list_files),
        ("/files/<file_id>", "GET", tracks.files),
        ("/files/<file_id>/<track>", "PUT", edits.edit),
        ("/files/<file_id>/<track>", "DELETE", edits.restore),
        ("/cleanup/<file_id>", "DELETE", views.cleanup),
        ("/links", "POST", links.create_link),
        ("/session", "POST", sessions.sign_in),
        ("/session", "DELETE", sessions.sign_out),
    ):
        blueprint.add_url_rule(rule, view.__name__, view, methods=[method])

    # Other bodies are small.
    sizes = {
        f"{blueprint.name}.{views.upload.__name__}": services.uploads.max_bytes,
        f"{blueprint.name}.{edits.edit.__name__}": editing.MAX_BYTES,
    }

    @blueprint.before_request
    def limit_body() -> None:
        max_bytes = sizes.get(request.endpoint or "", MAX_JSON_BYTES)
        request.max_content_length = min(max_bytes, services.uploads.max_bytes)

    @blueprint.before_request
    def check_query() -> None:
        asked = asked_operation()
        is_checked = asked and not asked.is_open and not asked.query_is_options
        if asked and is_checked and request.method != "OPTIONS":
            receiving.check_query(asked)

    app.register_blueprint(blueprint)


class JobViews(Views):
    """The views of uploads and jobs. They read the store and the disk, or queue jobs."""

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

    @operation(
        name="upload_file",
        tag="files",
        summary="Upload a file",
        answers={201: schemas.Uploaded},
        body={
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
        errors=(
            BadRequest,
            NoFile,
            EmptyFile,
            BadFilename,
            UnsupportedFileType,
            NotAudio,
            AudioTooLong,
            AudioTruncated,
            AudioUnsupported,
            TextUnreadable,
            UnsupportedMediaType,
            FileTooLarge,
            TooManyUploads,
            UploadTooSlow,
            QuotaExceeded,
            DiskFull,
            StorageUnavailable,
        ),
        rate="work",
    )
    def upload(self) -> Response:
        upload = receiving.receive(self._services)
        return answer(answers.uploaded(upload), 201, Location=f"/files/{upload.file_id}")

    @operation(
        name="start_job",
        tag="jobs",
        summary="Start a job, or return the results of an identical request",
        answers={202: schemas.Job, 200: schemas.Job},
        options_of=ANY_MODEL,
        body_required=False,
        query_is_options=True,
        errors=(*PROCESS_ERRORS, UnknownModel, TextUnreadable),
        rate="work",
    )
    def process(self, model: str, file_id: str) -> Response:
        return self._process(model, file_id)

    @operation(
        name="separate_file",
        tag="jobs",
        summary="Alias of /process/demucs/{file_id}",
        answers={202: schemas.Job, 200: schemas.Job},
        options_of=SEPARATE_MODEL,
        body_required=False,
        query_is_options=True,
        errors=PROCESS_ERRORS,
        deprecated=True,
        rate="work",
    )
    def separate(self, file_id: str) -> Response:
        return self._process(SEPARATE_MODEL, file_id)

    def _process(self, model: str, file_id: str) -> Response:
        kind = self._models.options_of(model)
        upload = self._upload(file_id)
        query = request.args.to_dict(flat=False)
        body = with_query(kind, receiving.json_body(), query)
        client = self._services.access.caller()
        webhook = self._services.webhooks.check(body.pop(WEBHOOK, None), client)
        requested = self._models.request(model, upload, body)
        job = self._services.intake.submit(requested, client, webhook)
        location = f"/status/{file_id}"
        if job.state is State.COMPLETED:
            return answer(self._answers.job(job), 200, Location=location)
        return answer(self._answers.job(job), 202, Location=location, Retry_After=POLL_AFTER_S)

    @operation(
        name="get_status",
        tag="jobs",
        summary="Get the status of a file's jobs",
        answers={200: schemas.Status},
        parameters=(
            Parameter(
                "before",
                "List the jobs before the one with this ID, as the link `next` does.",
                {"type": "string", "maxLength": 32},
            ),
            Parameter(
                "wait",
                "Delay the response until the latest job has ended, or for this many seconds. If "
                "too many requests are waiting, the response is sent at once.",
                {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S},
            ),
            Parameter(
                "partial_from",
                "Include in `partial` what the latest job has produced so far, from this number "
                "on. With `wait`, the response is also sent as soon as there is something.",
                {"type": "integer", "minimum": 0, "maximum": MAX_PARTIAL_FROM},
            ),
        ),
        errors=(InvalidOption, UnknownFile),
        rate="none",
    )
    def status(self, file_id: str) -> Response:
        wait_s, partial_from = self._wait_s(), self._partial_from()
        upload = self._upload(file_id)
        jobs = self._store.of_file(file_id)
        if wait_s and jobs and not jobs[0].state.is_final:
            self._wait(jobs[0].job_id, wait_s, partial_from)
            jobs = self._store.of_file(file_id)
            if not jobs:
                # The file was deleted.
                raise unknown_file(file_id)
        waiting = bool(jobs) and not jobs[0].state.is_final
        headers = {"Retry_After": POLL_AFTER_S} if waiting else {}
        before = request.args.get("before")
        if before is not None and all(job.job_id != before for job in jobs):
            raise InvalidOption(
                f"`before` is {before!r}, which is not the ID of a job of this file."
            )
        partial = None
        if partial_from is not None and jobs and jobs[0].state is State.PROCESSING:
            partial = self._services.partials.of(jobs[0].job_id, partial_from)
        return answer(self._answers.status(upload, jobs, before, partial), **headers)

    def _wait(self, job_id: str, wait_s: float, partial_from: int | None) -> None:
        """Return when the job has ended, after `wait_s`, or at once if too many requests wait.

        With `partial_from`, also return when the job has produced that many items and one more.
        Clients that have left keep no place.
        """
        client_has_left = has_left()

        def is_over() -> bool:
            partials = self._services.partials
            return client_has_left() or (
                partial_from is not None and bool(partials.of(job_id, partial_from))
            )

        client = self._services.access.caller()
        if self._services.waiting.take(client) is not None:
            return
        try:
            self._services.runner.wait(job_id, wait_s, is_over)
        finally:
            self._services.waiting.leave(client)

    def _wait_s(self) -> float:
        text = request.args.get("wait", "0")
        wait_s = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not 0 <= wait_s <= MAX_WAIT_S:
            raise InvalidOption(
                f"`wait` is {text!r}; it must be a number between 0 and {MAX_WAIT_S}."
            )
        return wait_s

    def _partial_from(self) -> int | None:
        text = request.args.get("partial_from")
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise InvalidOption(
                f"`partial_from` is {text!r}; it must be a whole number from 0 to "
                f"{MAX_PARTIAL_FROM}."
            )
        return int(text)

    @operation(
        name="cancel_jobs",
        tag="jobs",
        summary="Cancel the queued and processing jobs of a file",
        answers={200: schemas.Status},
        errors=(UnknownFile, NothingToCancel, DiskFull, StorageUnavailable),
    )
    def cancel(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        self._services.runner.cancel(file_id)
        return answer(self._answers.status(upload, self._store.of_file(file_id)))

    @operation(
        name="delete_file",
        tag="files",
        summary="Delete a file and its results; unfinished jobs are canceled first",
        answers={200: schemas.Deleted},
        errors=(UnknownFile, DiskFull, StorageUnavailable),
    )
    def cleanup(self, file_id: str) -> Response:
        self._upload(file_id)
        self._services.intake.remove(file_id)
        return answer(
            schemas.Deleted(file_id=file_id, message="The file and its results have been deleted.")
        )
