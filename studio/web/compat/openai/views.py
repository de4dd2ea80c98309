"""The routes of OpenAI's audio API."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify

from studio.jobs.job import Job
from studio.storage.on_demand import Abandoned
from studio.storage.uploads import Upload
from studio.transcription.result import TRACK
from studio.web.compat.form_requests import FormRequests
from studio.web.compat.openai import answers, errors, inputs, names
from studio.web.compat.openai.fields import TranscriptionRequest, requested
from studio.web.compat.openai.realtime.view import RealtimeView
from studio.web.compat.whisper import WHISPER, plain_vtt
from studio.web.live.server import Live
from studio.web.operations import other_protocol
from studio.web.problems import ErrorFormats, as_studio_error
from studio.web.services import Services
from studio.web.views import has_left

PREFIX = "/v1"
# The response formats that are files of the transcript.
FILES = ("srt", "lrc")


def register(
    app: Flask, services: Services, error_formats: ErrorFormats, live: Live | None
) -> None:
    """Add the routes and the error format. The Realtime API is added if `live` is given."""
    error_formats.add(PREFIX, errors.render)
    views = Views(services)
    for rule, method, view in (
        ("/models", "GET", views.models),
        ("/models/<path:name>", "GET", views.model),
        ("/audio/transcriptions", "POST", views.transcriptions),
        ("/audio/translations", "POST", views.translations),
    ):
        app.add_url_rule(f"{PREFIX}{rule}", f"openai.{view.__name__}", view, methods=[method])
    if live is None:
        return
    realtime = RealtimeView(services, live).realtime
    for endpoint, is_websocket in (("openai.realtime", True), ("openai.not_realtime", False)):
        # The view itself refuses requests that ask for no WebSocket.
        app.add_url_rule(f"{PREFIX}/realtime", endpoint, realtime, websocket=is_websocket)


class Views:
    """Each view is a request of one of OpenAI's clients."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._requests = FormRequests(services)

    @other_protocol("general")
    def models(self) -> Response:
        listed = map(names.described, names.known(self._services.models))
        return jsonify({"object": "list", "data": list(listed)})

    @other_protocol("general")
    def model(self, name: str) -> Response:
        names.check(self._services.models, name)
        return jsonify(names.described(name))

    @other_protocol("work")
    def transcriptions(self) -> Response:
        return self._transcribed("transcribe")

    @other_protocol("work")
    def translations(self) -> Response:
        return self._transcribed("translate")

    def _transcribed(self, task: str) -> Response:
        requests = self._requests
        with ExitStack() as until_answered:
            until_answered.enter_context(requests.jobs.slot(requests.client))
            with inputs.receive(requests, self._services) as received:
                wanted = requested(received.fields, task)
                upload = requests.keep(received)
            job = requests.jobs.start(WHISPER, upload, wanted.options, requests.client)
            if not wanted.is_streamed:
                job = requests.jobs.wait(job, has_left())
                return self._answer(upload, job, wanted)
            events = self._events(upload, job, has_left())
            answer = Response(events, mimetype="text/event-stream")
            answer.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            answer.call_on_close(until_answered.pop_all().close)
            return answer

    def _answer(self, upload: Upload, job: Job, wanted: TranscriptionRequest) -> Response:
        response_format = wanted.response_format
        if response_format in FILES:
            path = self._requests.jobs.file(upload, job, TRACK, response_format).path
            content_type = self._services.models.formats()[response_format]
            return Response(path.read_bytes(), mimetype=content_type)
        transcript = self._transcript(upload, job)
        match response_format:
            case "text":
                return Response(f"{transcript['text']}\n", mimetype="text/plain")
            case "vtt":
                return Response(plain_vtt(transcript), mimetype="text/vtt")
            case "verbose_json":
                return jsonify(answers.verbose(transcript, wanted))
        return jsonify(answers.plain(transcript))

    def _transcript(self, upload: Upload, job: Job) -> dict[str, Any]:
        path: Path = self._requests.jobs.file(upload, job, TRACK, "json").path
        transcript: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return transcript

    def _events(self, upload: Upload, job: Job, has_left: Callable[[], bool]) -> Iterator[str]:
        """The server-sent events of a transcription, while its job runs."""
        sent = 0
        try:
            for current in self._requests.jobs.watch(job, has_left):
                if current.result is not None:
                    transcript = self._transcript(upload, current)
                    segments = transcript["segments"][sent:]
                else:
                    segments = self._services.partials.of(job.job_id, sent)
                for delta in answers.deltas(segments, sent == 0):
                    yield _event({"type": "transcript.text.delta", "delta": delta})
                sent += len(segments)
                if not segments:
                    # A comment, which keeps the connection open.
                    yield ": waiting\n\n"
            yield _event(
                {
                    "type": "transcript.text.done",
                    "text": transcript["text"],
                    "usage": answers.usage_of(transcript),
                }
            )
        except Abandoned:
            return
        except Exception as error:
            yield _event({"type": "error", **errors.body_of(as_studio_error(error))})


def _event(data: dict[str, Any]) -> str:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
