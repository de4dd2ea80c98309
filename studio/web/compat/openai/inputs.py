"""Takes the file of a request: in a form, or as base64 in JSON."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from studio.errors import InvalidJson, InvalidOption, NoFile
from studio.web.compat.form_requests import FormRequests, ReceivedFile
from studio.web.compat.openai.fields import fields_of
from studio.web.pace import watched
from studio.web.receiving import body_bytes, check_size, parsed_json
from studio.web.services import Services

# Such a body is in memory as a whole; OpenAI's service takes 25 MB of audio.
MAX_JSON_BYTES = 40 << 20
# What separates values in JSON; a prompt may contain some, too.
STRUCTURE = (b",", b"[", b"{")
MAX_STRUCTURE = 10_000
# Characters of base64 that are decoded at a time, a multiple of four.
PIECE_CHARACTERS = 1 << 20


@contextmanager
def receive(requests: FormRequests, services: Services) -> Iterator[ReceivedFile]:
    """The file and the fields of the current request; the file is deleted with the block."""
    if request.mimetype == "application/json":
        with services.uploads.slot(requests.client), _from_json(requests, services) as received:
            yield received
    else:
        with requests.receive_form() as received:
            yield received


@contextmanager
def _from_json(requests: FormRequests, services: Services) -> Iterator[ReceivedFile]:
    max_bytes = min(MAX_JSON_BYTES, services.uploads.max_bytes)
    check_size(max_bytes)
    request.max_content_length = max_bytes
    with watched(request.environ, services.upload_pace):
        data = body_bytes()
    _check_structure(data)
    body = parsed_json(data)
    sent = body.pop("input_audio", None)
    if not isinstance(sent, dict) or not isinstance(text := sent.get("data"), str):
        raise NoFile(
            'The body has no audio. Send {"input_audio": {"data": BASE64, "format": "wav"}}, or '
            "the file as multipart/form-data in the field 'file'.",
            param="input_audio",
        )
    with requests.new_file() as incoming:
        for start in range(0, len(text), PIECE_CHARACTERS):
            incoming.write(_decoded(text[start : start + PIECE_CHARACTERS]))
        yield ReceivedFile(incoming, f"audio.{sent.get('format') or 'wav'}", fields_of(body))


def _check_structure(data: bytes) -> None:
    """Raise InvalidJson if a body has many values, which take much more memory than the body.

    A request has one long text and few other values, and base64 contains none of these characters.
    """
    if sum(data.count(mark) for mark in STRUCTURE) > MAX_STRUCTURE:
        raise InvalidJson(
            f"The body contains more than {MAX_STRUCTURE:,} commas and brackets. Send the audio in "
            "base64 and only the fields of the API, or the file as multipart/form-data."
        )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidOption(
            "`input_audio.data` is not base64. Send the bytes of the file in base64, without a "
            "prefix and without line breaks.",
            param="input_audio",
        ) from None
