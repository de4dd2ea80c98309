"""The API of whisper-asr-webservice: `/asr` and `/detect-language`, as Bazarr and others use it."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify, request

from studio import audio
from studio.errors import InvalidOption, NotAudio, StudioError
from studio.jobs.job import Job
from studio.storage.incoming import IncomingFile
from studio.storage.uploads import Upload
from studio.transcription.languages import LANGUAGES, NAMES, language_code
from studio.transcription.result import TRACK
from studio.web.compat.form_requests import FormRequests, ReceivedFile
from studio.web.compat.form_values import FormValues
from studio.web.compat.whisper import WHISPER, plain_vtt, segment_fields
from studio.web.operations import other_protocol
from studio.web.problems import ErrorFormats
from studio.web.services import Services
from studio.web.views import has_left

FIELD = "audio_file"
OUTPUTS = ("txt", "vtt", "srt", "tsv", "json")
TASKS = ("transcribe", "translate")
MAX_PROMPT_CHARACTERS = 1000
ENGINE = {"Asr-Engine": "audio-studio"}
# What `encode=false` sends: 16-bit mono samples at this rate, without a header.
RATE_HZ = 16_000
COPIED_BYTES = 1 << 20
# The part of a recording whose language is detected.
DETECTED_S = 30


def register(app: Flask, services: Services, error_formats: ErrorFormats) -> None:
    """Add the routes and the error format."""
    views = Views(services)
    for path, view in (("/asr", views.transcribe), ("/detect-language", views.detect_language)):
        error_formats.add(path, render)
        app.add_url_rule(path, f"asr.{view.__name__}", view, methods=["POST"])


def render(error: StudioError) -> Response:
    """An error as this API shows it, which is no text and no subtitle."""
    status = 422 if isinstance(error, InvalidOption) else error.status
    body = {"detail": error.sentence, "code": error.code}
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


class Views:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._requests = FormRequests(services)

    @other_protocol("work")
    def transcribe(self) -> Response:
        requests = self._requests
        with requests.jobs.slot(requests.client):
            with self._received() as received:
                values = _values(received)
                output = values.one_of("output", OUTPUTS) or "txt"
                with_words = values.flag("word_timestamps") or False
                options = _options(values)
                upload = requests.keep(received)
            job = self._completed(upload, options)
            text = self._written(upload, job, output, with_words)
        answer = Response(text, mimetype="text/plain", headers=ENGINE)
        name = f"{quote(received.filename, safe='')}.{output}"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    @other_protocol("work")
    def detect_language(self) -> Response:
        """The language of the first seconds, or if nobody speaks there, of those in the middle."""
        requests = self._requests
        with requests.jobs.slot(requests.client):
            with self._received() as received:
                upload = requests.keep(received)
            for start_s in (0.0, upload.sound.duration_s / 2 if upload.sound else 0.0):
                with self._part(upload, start_s) as part:
                    short = requests.keep(replace(received, incoming=part))
                result = self._completed(short, {"word_timestamps": False}).result or {}
                if code := result.get("language"):
                    return jsonify(
                        {
                            "detected_language": NAMES[code],
                            "language_code": code,
                            "confidence": result.get("language_probability"),
                        }
                    )
        raise NotAudio(
            f"No speech was found in the first {DETECTED_S} s and in those in the middle, so the "
            "language cannot be detected. Set `language` in the request."
        )

    def _written(self, upload: Upload, job: Job, output: str, with_words: bool) -> str:
        """The transcript in an output format."""
        file_format = "json" if output in ("json", "vtt") else output
        file = self._requests.jobs.file(upload, job, TRACK, file_format)
        text = file.path.read_text("utf-8")
        if output == "vtt":
            return plain_vtt(json.loads(text))
        if output == "json":
            return json.dumps(_transcript(json.loads(text), with_words), ensure_ascii=False)
        return text

    def _completed(self, upload: Upload, options: dict[str, Any]) -> Job:
        requests = self._requests
        return requests.jobs.wait(
            requests.jobs.start(WHISPER, upload, options, requests.client), has_left()
        )

    @contextmanager
    def _received(self) -> Iterator[ReceivedFile]:
        """The file of the request; samples without a header get one."""
        with self._requests.receive_form(FIELD) as received:
            is_file = _values(received).flag("encode")
            if is_file is False and received.incoming.size_bytes > 0:
                with self._with_header(received.incoming) as incoming:
                    yield replace(received, incoming=incoming)
            else:
                yield received

    @contextmanager
    def _with_header(self, samples: IncomingFile) -> Iterator[IncomingFile]:
        samples.close()
        with self._requests.new_file() as incoming, open(samples.path, "rb") as file:
            incoming.write(audio.wav_header(RATE_HZ, samples.size_bytes))
            while block := file.read(COPIED_BYTES):
                incoming.write(block)
            yield incoming

    @contextmanager
    def _part(self, upload: Upload, start_s: float) -> Iterator[IncomingFile]:
        """Some seconds of an upload, as a file of their own."""
        source: Path = self._services.storage.source(upload).path
        samples = audio.pcm_16(source, RATE_HZ, start_s, DETECTED_S)
        with self._requests.new_file() as incoming:
            incoming.write(audio.wav_header(RATE_HZ, len(samples)) + samples)
            yield incoming


def _values(received: ReceivedFile) -> FormValues:
    """The values of a request: in the query, or else in the form. Empty ones were not sent."""
    return FormValues(
        lambda name: request.args.get(name) or received.field(name), _invalid, _one_of_them
    )


def _one_of_them(words: Iterable[str]) -> str:
    return f"one of {', '.join(words)}"


def _invalid(name: str, value: str, advice: str) -> InvalidOption:
    return InvalidOption(f"`{name}` is {value!r:.100}; {advice}.")


def _options(values: FormValues) -> dict[str, Any]:
    """The options of the job. Raises InvalidOption."""
    options: dict[str, Any] = {"task": values.one_of("task", TASKS) or "transcribe"}
    if language := values.last("language"):
        if language_code(language) is None:
            raise _invalid("language", language, f"use {_one_of_them(sorted(LANGUAGES))}")
        options["language"] = language
    if prompt := values.last("initial_prompt"):
        options["initial_prompt"] = prompt[-MAX_PROMPT_CHARACTERS:]
    if (vad := values.flag("vad_filter")) is not None:
        options["vad"] = vad
    return options


def _transcript(transcript: dict[str, Any], with_words: bool) -> dict[str, Any]:
    """A transcript as openai-whisper writes it."""
    segments = []
    for number, segment in enumerate(transcript["segments"]):
        shown = segment_fields(number, segment)
        if with_words:
            shown["words"] = [
                {
                    "word": word["text"],
                    "start": word["start_s"],
                    "end": word["end_s"],
                    "probability": word["probability"],
                }
                for word in segment["words"]
            ]
        segments.append(shown)
    return {
        "text": transcript["text"],
        "segments": segments,
        "language": transcript["language"],
    }
