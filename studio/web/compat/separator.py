"""audio-separator's remote API, under `/audio-separator`, for its client and karaoke generators."""

import json
from dataclasses import replace
from typing import Any

from flask import Flask, Response, jsonify, request

from studio.errors import StudioError, UnknownTrack
from studio.jobs.job import Job, State
from studio.storage.uploads import Upload
from studio.web import sending
from studio.web.compat.form_requests import FormRequests
from studio.web.compat.separator_task import DEMUCS, Output, SeparationRequest, Task
from studio.web.operations import other_protocol
from studio.web.problems import ErrorFormats
from studio.web.services import Services
from studio.web.views import Views as OwnViews

PREFIX = "/audio-separator"
STATES = {
    State.QUEUED: "submitted",
    State.PROCESSING: "processing",
    State.COMPLETED: "completed",
    State.FAILED: "error",
    State.CANCELED: "error",
}
NOT_FOUND = "There is no such job: it never existed, or its files have been deleted."


def register(app: Flask, services: Services, error_formats: ErrorFormats) -> None:
    """Add the routes and the error format."""
    error_formats.add(PREFIX, render)
    views = Views(services)
    for rule, method, view in (
        ("/separate", "POST", views.separate),
        ("/status/<task_id>", "GET", views.status),
        ("/download/<task_id>/<path:key>", "GET", views.download),
        ("/models-json", "GET", views.models_json),
        ("/models", "GET", views.models),
        ("/presets", "GET", views.presets),
        ("/health", "GET", views.health),
    ):
        endpoint = f"separator.{view.__name__}"
        app.add_url_rule(f"{PREFIX}{rule}", endpoint, view, methods=[method])


def render(error: StudioError) -> Response:
    """An error as this API shows it."""
    # Unlike `jsonify`, this works before Flask has the request.
    body = {"detail": error.sentence, "code": error.code}
    return Response(json.dumps(body), error.status, mimetype="application/json")


class Views(OwnViews):
    """Each view is a request of audio-separator's client."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._requests = FormRequests(services)

    @other_protocol("work")
    def separate(self) -> Response:
        requests = self._requests
        # Until the job is queued: the file is examined after it has arrived.
        with requests.jobs.slot(requests.client), requests.receive_form() as received:
            wanted = SeparationRequest.of(received, self._demucs()["variants"])
            task = Task.of(wanted, received.filename)
            if wanted.refusal is None:
                upload = requests.keep(received)
                jobs = [
                    requests.jobs.start(DEMUCS, upload, options, requests.client)
                    for options in wanted.options()
                ]
                task = replace(task, job_ids=tuple(job.job_id for job in jobs))
        return jsonify({"task_id": task.to_id(), "status": "submitted"})

    @other_protocol("none")
    def status(self, task_id: str) -> Response:
        task = Task.from_id(task_id)
        if task is None:
            return self._not_found(task_id)
        about = {
            "task_id": task_id,
            "original_filename": task.filename,
            "models_used": task.wanted.models_used(self._default()),
            "total_models": len(task.wanted.models),
            "current_model_index": 0,
            "files": {},
        }
        if task.wanted.refusal is not None:
            return jsonify(
                {**about, "status": "error", "progress": 0, "error": task.wanted.refusal}
            )
        upload_and_jobs = self._jobs(task)
        if upload_and_jobs is None:
            return self._not_found(task_id)
        _, jobs = upload_and_jobs
        for job in jobs:
            if job.state in (State.FAILED, State.CANCELED):
                error = (job.error or {}).get("error", "The job was canceled.")
                return jsonify({**about, "status": "error", "progress": 0, "error": error})
        if all(job.state is State.COMPLETED for job in jobs):
            files = {one.key: one.filename for one in self._outputs(task, jobs)}
            return jsonify({**about, "status": "completed", "progress": 100, "files": files})
        unfinished = [index for index, job in enumerate(jobs) if not job.state.is_final]
        is_waiting = all(job.state is State.QUEUED for job in jobs)
        progress = sum(1.0 if job.state.is_final else job.progress for job in jobs) / len(jobs)
        about["current_model_index"] = unfinished[0]
        status = STATES[State.QUEUED if is_waiting else State.PROCESSING]
        return jsonify({**about, "status": status, "progress": min(99, int(100 * progress))})

    @other_protocol("none")
    def download(self, task_id: str, key: str) -> Response:
        """A file by its key or, as older clients ask for it, by its name."""
        task = Task.from_id(task_id)
        upload_and_jobs = self._jobs(task) if task is not None else None
        if task is None or upload_and_jobs is None:
            raise UnknownTrack(NOT_FOUND)
        upload, jobs = upload_and_jobs
        for one in self._outputs(task, jobs):
            if key in (one.key, one.filename):
                with self._request():
                    file = self._requests.jobs.file(
                        upload, one.job, one.track, task.wanted.file_format
                    )
                content_type = self._models.formats()[task.wanted.file_format]
                return sending.send(file, content_type, one.filename)
        raise UnknownTrack(f"The job has no file {key!r:.200}. GET {PREFIX}/status has its files.")

    @other_protocol("general")
    def models_json(self) -> Response:
        listed: dict[str, dict[str, Any]] = {
            f"Demucs: {name}": {
                "filename": f"{name}.yaml",
                "scores": {},
                "stems": variant["stems"] or [],
                "target_stem": None,
                "download_files": [],
            }
            for name, variant in self._demucs()["variants"].items()
        }
        return jsonify({"Demucs": listed})

    @other_protocol("general")
    def models(self) -> Response:
        wanted = request.args.get("filter_sort_by", "").lower()
        lines = [f"{'Model Filename':24}  {'Arch':8}  Output Stems"]
        for name, variant in self._demucs()["variants"].items():
            line = f"{name + '.yaml':24}  {'Demucs':8}  {', '.join(variant['stems'] or [])}"
            if wanted in line.lower():
                lines.append(line)
        return Response("\n".join(lines), mimetype="text/plain")

    @other_protocol("general")
    def presets(self) -> Response:
        """None of our own: every preset means the default variant."""
        return jsonify({})

    @other_protocol("none")
    def health(self) -> Response:
        return jsonify(
            {
                "status": "healthy",
                "service": "audio-separator-api",
                "version": self._services.version,
                "models_ready": True,
                "platform": "audio-studio",
            }
        )

    def _demucs(self) -> dict[str, Any]:
        """What `GET /models` shows of Demucs."""
        described: dict[str, Any] = self._models.describe()[DEMUCS]
        return described

    def _default(self) -> str:
        return str(self._demucs()["default"])

    def _jobs(self, task: Task) -> tuple[Upload, list[Job]] | None:
        """The jobs of a task of the caller, and their upload; None if they do not exist."""
        jobs = [job for job_id in task.job_ids if (job := self._store.get(job_id)) is not None]
        sources = {(job.request.model, job.request.file_id) for job in jobs}
        # The owner is checked for one file only.
        if len(jobs) < len(task.job_ids) or [model for model, _ in sources] != [DEMUCS]:
            return None
        try:
            upload = self._upload(jobs[0].request.file_id)
            self._storage.touch(upload.file_id)
        except StudioError:
            return None
        return upload, jobs

    def _outputs(self, task: Task, jobs: list[Job]) -> list[Output]:
        default = self._default()
        return [
            output
            for index, job in enumerate(jobs)
            for output in task.outputs(
                index, job, [one.name for one in self._models.tracks(job)], default
            )
        ]

    @staticmethod
    def _not_found(task_id: str) -> Response:
        return jsonify(
            {"task_id": task_id, "status": "not_found", "progress": 0, "error": NOT_FOUND}
        )
