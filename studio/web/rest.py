"""The REST routes: upload, process, status, download, files, cleanup."""

import re
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request
from pydantic import BaseModel
from zipstream import ZIP_STORED, ZipStream

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
    PreconditionFailed,
    QueueFull,
    QuotaExceeded,
    RangeNotSatisfiable,
    ResultsGone,
    StorageUnavailable,
    TextUnreadable,
    TooManyConversions,
    TooManyJobs,
    TooManyUploads,
    TooManyWebhooks,
    UnknownFile,
    UnknownFormat,
    UnknownModel,
    UnknownOption,
    UnknownStem,
    UnknownTrack,
    UnknownVariant,
    UnsupportedFileType,
    UnsupportedMediaType,
    UploadTooSlow,
    WrongFileType,
)
from studio.inference.warm_up import READY
from studio.jobs.body import WEBHOOK, with_query
from studio.jobs.job import Job, State
from studio.jobs.reuse import completed_before
from studio.slots import Places
from studio.storage.files import Upload, unknown_file
from studio.storage.on_demand import Abandoned, Requester, requested_by
from studio.web import answers, receiving, results, schemas, sending
from studio.web.access import asked_operation
from studio.web.operations import Parameter, operation
from studio.web.services import Services
from studio.web.sockets import has_hung_up, tcp_of

LONGEST_WAIT_S = 60
# Each answer that is waited for holds a thread: these are a part of the server's, and of a part.
MOST_WAITING = 40
MOST_WAITING_OF_A_CLIENT = 8
POLL_AFTER_S = 2
# The longest options that make sense have a few kB.
MAX_JSON_BYTES = 1 << 16
TRACK = "*/*"
# float() takes more than people mean: "1_0", "infinity", digits of all scripts.
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
# As nginx logs a request whose client closed the connection; nobody reads the answer.
CLIENT_LEFT = 499

FORMAT = Parameter(
    "format",
    "Format of the track; the job's own, or txt for a text, when not given. WAV is 32-bit float.",
    {"type": "string", "enum": list(results.ALL_FORMATS)},
)
ARCHIVE_FORMAT = Parameter(
    "format",
    "Only the tracks that have this format, in it; else sound in the job's own format and texts in "
    "all of theirs.",
    FORMAT.schema,
)
RANGE = Parameter(
    "Range",
    "One range of bytes; several, or another unit: the whole file.",
    {"type": "string"},
    "header",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "The ETag of a copy that is there already.", {"type": "string"}, "header"
)
SEPARATION = {"$ref": "#/components/schemas/SeparationOptions"}
TRANSCRIPTION = {"$ref": "#/components/schemas/TranscriptionOptions"}
GENERATION = {"$ref": "#/components/schemas/GenerationOptions"}
SEPARATE_BODY = {"application/json": {"schema": SEPARATION}}
PROCESS_BODY = {"application/json": {"schema": {"anyOf": [SEPARATION, TRANSCRIPTION, GENERATION]}}}
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
TRACK_ERRORS = (
    UnknownFormat,
    UnknownFile,
    UnknownTrack,
    NotReady,
    ResultsGone,
    TooManyConversions,
    DiskFull,
    StorageUnavailable,
)


def register(app: Flask, services: Services) -> None:
    """Add all REST routes to the application."""
    views = Views(services)
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
        ("/download/<file_id>/all.zip", "GET", views.archive),
        ("/download/<file_id>/<track>", "GET", views.download),
        ("/files/<file_id>", "GET", views.files),
        ("/cleanup/<file_id>", "DELETE", views.cleanup),
    ):
        blueprint.add_url_rule(rule, view.__name__, view, methods=[method])

    @blueprint.before_request
    def limit_body() -> None:
        is_upload = request.endpoint == f"{blueprint.name}.{views.upload.__name__}"
        most_bytes = services.uploads.most_bytes if is_upload else MAX_JSON_BYTES
        request.max_content_length = min(most_bytes, services.uploads.most_bytes)

    @blueprint.before_request
    def check_query() -> None:
        asked = asked_operation()
        is_checked = asked and not asked.is_open and not asked.query_is_options
        if asked and is_checked and request.method != "OPTIONS":
            receiving.check_query(asked)

    @blueprint.errorhandler(Abandoned)
    def answer_nobody(_error: Abandoned) -> Response:
        return Response(status=CLIENT_LEFT)

    app.register_blueprint(blueprint)


def _answer(body: BaseModel, status: int = 200, **headers: Any) -> Response:
    answer = jsonify(body.model_dump(mode="json"))
    answer.status_code = status
    answer.headers.update({name.replace("_", "-"): str(text) for name, text in headers.items()})
    return answer


class Views:
    """The views, as methods: each reads only the store and the disk, or queues a job."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._storage = services.storage
        self._store = services.store
        # Whoever adds jobs to a file, or removes it, does so one after the other.
        self._turns = [Lock() for _ in range(64)]
        self._waiting = Places(MOST_WAITING, MOST_WAITING_OF_A_CLIENT)

    def _upload(self, file_id: str) -> Upload:
        """An upload of the caller. Raises UnknownFile, also for one of somebody else."""
        upload = self._storage.upload(file_id)
        if upload.owner != g.owner:
            raise unknown_file(file_id)
        return upload

    def _turn(self, file_id: str) -> Lock:
        return self._turns[hash(file_id) % len(self._turns)]

    def _request(self) -> AbstractContextManager[None]:
        """What is made inside is made for the current request, as long as its client is there."""
        tcp = tcp_of(request.environ)
        client = self._services.access.caller()
        return requested_by(Requester(client, lambda: tcp is not None and has_hung_up(tcp)))

    @operation(
        summary="Is the server alive", answers={200: schemas.Health}, is_open=True, rate="none"
    )
    def health(self) -> Response:
        return _answer(
            schemas.Health(
                status="healthy",
                message="AI Model Backend with WebSocket support is running",
                available_models=self._services.models.names(),
                websocket_support=True,
                transcription_endpoint="/transcribe",
                version=self._services.version,
                jobs_queued=self._store.count(State.QUEUED),
                jobs_processing=self._store.count(State.PROCESSING),
            )
        )

    @operation(
        summary="Check readiness: models are loaded, and the disk and the database can be written",
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
            storage=storage,
        )
        return _answer(body, 200 if body.ready else 503)

    @operation(
        summary="Models, their variants, and where their weights are", answers={200: schemas.Models}
    )
    def models(self) -> Response:
        return _answer(schemas.Models(models=self._services.models.describe()))

    @operation(
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
        return _answer(answers.uploaded(upload), 201, Location=f"/files/{upload.file_id}")

    @operation(
        summary="Start a job; the same song with the same options is answered from what is there",
        answers={202: schemas.Job, 200: schemas.Job},
        body=PROCESS_BODY,
        body_required=False,
        query_is_options=True,
        errors=(*PROCESS_ERRORS, UnknownModel, TextUnreadable),
        rate="work",
    )
    def process(self, model: str, file_id: str) -> Response:
        return self._process(model, file_id)

    @operation(
        summary="The old name of /process/demucs/<file_id>",
        answers={202: schemas.Job, 200: schemas.Job},
        body=SEPARATE_BODY,
        body_required=False,
        query_is_options=True,
        errors=PROCESS_ERRORS,
        deprecated=True,
        rate="work",
    )
    def separate(self, file_id: str) -> Response:
        return self._process("demucs", file_id)

    def _process(self, model: str, file_id: str) -> Response:
        kind = self._services.models.get(model).options
        upload = self._upload(file_id)
        query = request.args.to_dict(flat=False)
        body = with_query(kind, receiving.json_body(), query)
        client = self._services.access.caller()
        told = self._services.webhooks.check(body.pop(WEBHOOK, None), client)
        asked = self._services.models.request(model, upload, body)
        with self._turn(file_id):
            self._upload(file_id)
            job = completed_before(self._store, self._storage, asked, told, client)
            if job is None:
                self._services.quota.check_work(client)
                self._services.quota.check_bytes(g.owner)
                job = self._services.runner.submit(asked, client, told)
        if told is not None:
            self._services.webhooks.wake()
        location = f"/status/{file_id}"
        if job.state is State.COMPLETED:
            return _answer(answers.job(job), 200, Location=location)
        return _answer(answers.job(job), 202, Location=location, Retry_After=POLL_AFTER_S)

    @operation(
        summary="State of the latest job of a file, and its jobs",
        answers={200: schemas.Status},
        parameters=(
            Parameter(
                "before",
                "List the jobs before the one with this id, as the link `next` does.",
                {"type": "string", "maxLength": 32},
            ),
            Parameter(
                "wait",
                "Hold the answer until the latest job is final, or for this many seconds; where "
                "too many answers are held already, it comes at once.",
                {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S},
            ),
        ),
        errors=(InvalidOption, UnknownFile),
        rate="none",
    )
    def status(self, file_id: str) -> Response:
        wait_s = self._wait_s()
        upload = self._upload(file_id)
        jobs = self._store.of_file(file_id)
        if wait_s and jobs and not jobs[0].state.is_final:
            self._wait(jobs[0].job_id, wait_s)
            upload = self._upload(file_id)
            jobs = self._store.of_file(file_id)
        waiting = bool(jobs) and not jobs[0].state.is_final
        headers = {"Retry_After": POLL_AFTER_S} if waiting else {}
        before = request.args.get("before")
        if before is not None and all(job.job_id != before for job in jobs):
            raise InvalidOption(f"before={before!r} is not the id of a job of this file.")
        return _answer(answers.status(upload, jobs, before), **headers)

    def _wait(self, job_id: str, wait_s: float) -> None:
        """Return when the job is final, after `wait_s`, or at once where too many wait already."""
        client = self._services.access.caller()
        if self._waiting.take(client) is not None:
            return
        try:
            self._services.runner.wait(job_id, wait_s)
        finally:
            self._waiting.leave(client)

    def _wait_s(self) -> float:
        text = request.args.get("wait", "0")
        wait_s = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not 0 <= wait_s <= LONGEST_WAIT_S:
            raise InvalidOption(f"wait={text!r} must be a number from 0 to {LONGEST_WAIT_S}.")
        return wait_s

    @operation(
        summary="Cancel the waiting and running jobs of a file",
        answers={200: schemas.Status},
        errors=(UnknownFile, NothingToCancel, DiskFull, StorageUnavailable),
    )
    def cancel(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        self._services.runner.cancel(file_id)
        return _answer(answers.status(upload, self._store.of_file(file_id)))

    @operation(
        summary="A track: sound or text, with Range and ETag",
        answers={200: TRACK, 206: TRACK, 304: None},
        parameters=(FORMAT, RANGE, IF_NONE_MATCH),
        errors=(*TRACK_ERRORS, PreconditionFailed, RangeNotSatisfiable),
        rate="none",
    )
    def download(self, file_id: str, track: str) -> Response:
        upload = self._upload(file_id)
        job = self._job_with(upload, track)
        file_format = results.checked_format(job, track, request.args.get("format"))
        with self._request():
            path = results.file_of(self._storage, upload, job, track, file_format)
        name = answers.download_name(upload, track, file_format)
        content_type = results.formats(track)[file_format]
        answer = sending.send(path, content_type)
        answer.headers["Content-Disposition"] = answers.disposition(name)
        return answer

    @operation(
        summary="All tracks in one ZIP",
        answers={200: "application/zip"},
        parameters=(ARCHIVE_FORMAT,),
        errors=TRACK_ERRORS,
        rate="none",
    )
    def archive(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        self._job_with(upload, None)
        jobs = self._store.of_file(file_id)
        archive = ZipStream(compress_type=ZIP_STORED, sized=True)
        kind, files = results.archived(jobs, request.args.get("format"))
        for job, track, file_format in files:
            with self._request():
                path = results.file_of(self._storage, upload, job, track, file_format)
            archive.add_path(str(path), answers.download_name(upload, track, file_format))
        answer = Response(archive, mimetype="application/zip")
        answer.content_length = len(archive)
        name = answers.download_name(upload, kind, "zip")
        answer.headers["Content-Disposition"] = answers.disposition(name)
        return answer

    def _job_with(self, upload: Upload, track: str | None) -> Job:
        """The latest completed job that has the track (None: any track)."""
        jobs = self._store.of_file(upload.file_id)
        done = [job for job in jobs if job.state is State.COMPLETED]
        for job in done:
            if track in results.names(job) or (track is None and results.names(job)):
                return job
        if jobs and not jobs[0].state.is_final:
            raise NotReady(
                f"The job is still {jobs[0].state}. Wait for it: GET /status/{upload.file_id}.",
                retry_after_s=POLL_AFTER_S,
            )
        if not done:
            model = "demucs" if upload.sound else "musicgen"
            raise NotReady(
                "There are no results of this file"
                + (f"; its last job {jobs[0].state}" if jobs else "")
                + f". Start a job: POST /process/{model}/{upload.file_id}."
            )
        known = dict.fromkeys(name for job in done for name in results.names(job))
        raise UnknownTrack(
            f"There is no track {track or 'all.zip'!r}; there are {', '.join(known)}."
        )

    @operation(
        summary="What is there of a file: tracks, formats, sizes, links",
        answers={200: schemas.Files},
        errors=(UnknownFile,),
    )
    def files(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        return _answer(answers.files(upload, self._store.of_file(file_id), self._storage))

    @operation(
        summary="Remove a file and its results; a running job is canceled first",
        answers={200: schemas.Deleted},
        errors=(UnknownFile, DiskFull, StorageUnavailable),
    )
    def cleanup(self, file_id: str) -> Response:
        with self._turn(file_id):
            self._upload(file_id)
            try:
                self._services.runner.cancel(file_id)
            except NothingToCancel:
                pass
            self._storage.remove(file_id)
            self._store.forget_file(file_id)
        return _answer(
            schemas.Deleted(file_id=file_id, message="The file and its results are gone.")
        )
