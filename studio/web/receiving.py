"""Receives an upload: streamed to disk, checked, and only then visible."""

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from flask import Request, g, request
from werkzeug.formparser import FormDataParser, MultiPartParser

from studio import audio
from studio.errors import (
    BadFilename,
    BadRequest,
    EmptyFile,
    FileTooLarge,
    InvalidJson,
    NoFile,
    UnsupportedFileType,
    UnsupportedMediaType,
)
from studio.generation.prompt import read_prompt
from studio.storage import IncomingFile, Sound, Storage, Upload
from studio.web import pace
from studio.web.bounds import UploadBounds
from studio.web.services import Services

FIELD = "file"
LONGEST_FILENAME = 200
# Below the 500 kB that a form's texts may have: werkzeug counts a piece of a file among them.
PIECE_BYTES = 1 << 18
NO_END = (
    "The file does not tell where its sound ends, so nobody can see whether some of it is missing: "
    "{:,.1f} s were found."
)


class _FormDataParser(FormDataParser):
    """Reads a form in larger pieces than werkzeug's 64 KiB.

    gunicorn copies all that it has read ahead for every piece that is taken.
    """

    def _parse_multipart(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
        boundary = options.get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("Missing boundary")
        parser = MultiPartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            cls=self.cls,
            buffer_size=PIECE_BYTES,
            max_form_parts=self.max_form_parts,
        )
        return (stream, *parser.parse(stream, boundary, content_length))


class StreamingRequest(Request):
    """Writes uploaded files straight to where they belong instead of to a temporary file."""

    form_data_parser_class = _FormDataParser

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if getattr(g, "incoming", None) is not None:
            raise BadRequest(f"Send one file a request, in the field {FIELD!r}.")
        storage: Storage = g.storage
        g.incoming = storage.receive()
        return cast(IO[bytes], g.incoming)


def receive(services: Services) -> Upload:
    """Store the file of the current request. Nothing stays behind when an error is raised."""
    g.storage = services.storage
    g.incoming = None
    try:
        with services.uploads.place(services.access.caller()):
            return _receive(services)
    finally:
        if g.incoming is not None:
            services.storage.discard(g.incoming)


def _receive(services: Services) -> Upload:
    bounds = services.uploads
    if request.content_length is not None and request.content_length > bounds.most_bytes:
        raise FileTooLarge(
            f"The request has {request.content_length:,} bytes; at most {bounds.most_bytes:,} "
            "are accepted. Send a shorter or a compressed file."
        )
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype!r}. Send the file as multipart/form-data in "
            f'the field {FIELD!r}, for example with curl -F "file=@song.mp3".'
        )
    services.storage.check_space(request.content_length or 0)
    services.quota.check_bytes(g.owner, request.content_length or 0)
    with pace.watched(request.environ), _body_errors():
        sent = request.files.get(FIELD)
    if sent is None and FIELD in request.form:
        raise NoFile(f"The field {FIELD!r} holds a text, not a file: give it a file name.")
    if sent is None:
        others = sorted({*request.files, *request.form})
        found = f"it has {', '.join(map(repr, others[:5]))}" if others else "it is empty"
        raise NoFile(f"The form has no file in a field {FIELD!r}; {found}.")
    filename = _checked_filename(sent.filename or "")
    file_type = Path(filename).suffix.lower().lstrip(".")
    if file_type not in bounds.allowed_extensions:
        raise UnsupportedFileType(
            f"{filename!r} does not end in one of "
            f"{', '.join('.' + kind for kind in sorted(bounds.allowed_extensions))}."
        )
    incoming = cast(IncomingFile, g.incoming)
    incoming.close()
    if incoming.size_bytes == 0:
        raise EmptyFile(f"{filename!r} has no content. Check it and send it again.")
    services.quota.check_bytes(g.owner, incoming.size_bytes)
    sound = _checked_content(incoming, file_type, bounds)
    upload = services.storage.accept(incoming, filename, file_type, sound, g.owner)
    g.incoming = None
    return upload


def _checked_filename(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    if "/" in name or "\\" in name:
        raise BadFilename("The file name contains a path. Send the name alone.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise BadFilename("The file name contains control characters. Rename the file.")
    if not name or len(name) > LONGEST_FILENAME:
        raise BadFilename(f"The file name must have 1 to {LONGEST_FILENAME} characters.")
    return name


def _checked_content(incoming: IncomingFile, file_type: str, bounds: UploadBounds) -> Sound | None:
    if file_type != "txt":
        found = audio.probe(incoming.path)
        bounds.check_length(found)
        note = None if found.says_its_end else NO_END.format(found.duration_s)
        return Sound(found.duration_s, found.sample_rate_hz, found.channels, note)
    read_prompt(incoming.path)
    return None


@contextmanager
def _body_errors() -> Iterator[None]:
    """Turn what HTTP servers raise for a malformed body, such as a bad chunk size, into BadRequest.

    gunicorn raises errors of its own, Werkzeug's server OSError without a number.
    """
    try:
        yield
    except Exception as error:
        is_numbered = isinstance(error, OSError) and error.errno is not None
        if is_numbered or not (
            isinstance(error, OSError) or type(error).__module__ == "gunicorn.http.errors"
        ):
            raise
        raise BadRequest(f"The body of the request cannot be read: {error}.") from None


def json_body() -> dict[str, Any]:
    """The JSON object of the current request; empty when there is no body."""
    with _body_errors():
        data = request.get_data(cache=True)
    if not data:
        return {}
    if not request.is_json:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype!r}. Options are sent as JSON: add the header "
            '"Content-Type: application/json".'
        )
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise InvalidJson('The body must be a JSON object such as {"model_variant": "htdemucs"}.')
    return body
