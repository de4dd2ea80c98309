"""Takes the file of a request: in a form, or as base64 in JSON."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from studio.errors import InvalidOption, NoFile
from studio.web.compat.desk import Desk, Received
from studio.web.compat.openai.fields import fields_of
from studio.web.receiving import check_size, json_body
from studio.web.services import Services

# Such a body is in memory as a whole; OpenAI's service takes 25 MB of audio.
MAX_JSON_BYTES = 40 << 20
# Characters of base64 that are decoded at a time, a multiple of four.
PIECE_CHARACTERS = 1 << 20


@contextmanager
def receive(desk: Desk, services: Services) -> Iterator[Received]:
    """The file and the fields of the current request; the file is deleted with the block."""
    if request.mimetype == "application/json":
        with services.uploads.place(desk.client), _from_json(desk, services) as received:
            yield received
    else:
        with desk.receive_form() as received:
            yield received


@contextmanager
def _from_json(desk: Desk, services: Services) -> Iterator[Received]:
    most_bytes = min(MAX_JSON_BYTES, services.uploads.most_bytes)
    check_size(most_bytes)
    request.max_content_length = most_bytes
    body = json_body()
    sent = body.pop("input_audio", None)
    if not isinstance(sent, dict) or not isinstance(data := sent.get("data"), str):
        raise NoFile(
            'The body has no audio. Send {"input_audio": {"data": BASE64, "format": "wav"}}, or '
            "the file as multipart/form-data in the field 'file'.",
            param="input_audio",
        )
    with desk.new_file() as incoming:
        for start in range(0, len(data), PIECE_CHARACTERS):
            incoming.write(_decoded(data[start : start + PIECE_CHARACTERS]))
        yield Received(incoming, f"audio.{sent.get('format') or 'wav'}", fields_of(body))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidOption(
            "`input_audio.data` is not base64. Send the bytes of the file in base64, without a "
            "prefix and without line breaks.",
            param="input_audio",
        ) from None
