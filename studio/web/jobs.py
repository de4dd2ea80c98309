"""The routes for jobs: start, follow and cancel."""

import re

from flask import Response, request

from studio.errors import (
    DiskFull,
    FileTooLarge,
    InvalidJson,
    InvalidOption,
    NothingToCancel,
    NotReady,
    QueueFull,
    QuotaExceeded,
    StorageUnavailable,
    TextUnreadable,
    TooManyJobs,
    TooManyWebhooks,
    UnknownFile,
    UnknownFormat,
    UnknownModel,
    UnknownOption,
    UnknownStem,
    UnknownVariant,
    UnsupportedMediaType,
    WrongFileType,
)
from studio.jobs.body import WEBHOOK, with_query
from studio.jobs.job import State
from studio.storage.uploads import unknown_file
from studio.web import receiving, schemas
from studio.web.operations import ANY_MODEL, Parameter, operation
from studio.web.views import POLL_AFTER_S, Views, answer, has_left

MAX_WAIT_S = 60
MAX_PARTIAL_FROM = 999_999_999
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


class JobViews(Views):
    """Queues jobs, reports their status and cancels them."""

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
        Clients that have left keep no slot.
        """
        client_has_left = has_left()

        def is_over() -> bool:
            partials = self._services.partials
            return client_has_left() or (
                partial_from is not None and bool(partials.of(job_id, partial_from))
            )

        client = self._services.access.caller()
        if self._services.waiting.acquire(client) is not None:
            return
        try:
            self._services.runner.wait(job_id, wait_s, is_over)
        finally:
            self._services.waiting.release(client)

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
