"""Receives uploads: streamed to disk, checked, and only then visible."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import g, request
from werkzeug.exceptions import ClientDisconnected

from studio import audio
from studio.errors import (
    BadFilename,
    BadRequest,
    EmptyFile,
    FileTooLarge,
    InvalidJson,
    InvalidOption,
    UnknownOption,
    UnsupportedFileType,
    UnsupportedMediaType,
)
from studio.sources import sound_info
from studio.storage.incoming import IncomingFile
from studio.storage.uploads import SoundInfo, Upload
from studio.web.forms import FIELD, UploadForm
from studio.web.operations import Operation
from studio.web.pace import watched
from studio.web.services import Services

MAX_FILENAME_CHARACTERS = 200


def receive(services: Services) -> Upload:
    """Store the file of the current request. Nothing is left behind if an error is raised."""
    form = UploadForm(services.storage, request.max_form_memory_size, request.max_form_parts)
    try:
        with services.uploads.slot(services.access.caller()):
            return _receive(services, form)
    finally:
        if form.incoming is not None:
            services.storage.discard(form.incoming)


def _receive(services: Services, form: UploadForm) -> Upload:
    bounds = services.uploads
    check_size(bounds.max_bytes)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype!r}. Send the file as multipart/form-data in "
            f'the field {FIELD!r}, for example with curl -F "file=@song.mp3".'
        )
    incoming = read_form(services, form)
    filename = _checked_filename(form.filename)
    file_type = Path(filename).suffix.lower().lstrip(".")
    if file_type not in bounds.allowed_extensions:
        raise UnsupportedFileType(
            f"The extension of {filename!r} is not accepted. Allowed are "
            f"{', '.join('.' + kind for kind in sorted(bounds.allowed_extensions))}."
        )
    incoming.close()
    if incoming.size_bytes == 0:
        raise EmptyFile(f"{filename!r} is empty. Check the file and try again.")
    services.quota.check_bytes(g.owner, incoming.size_bytes)
    sound = _checked_content(incoming, file_type, services)
    upload = services.storage.accept(incoming, filename, file_type, sound, g.owner)
    form.incoming = None
    return upload


def check_size(max_bytes: int) -> None:
    """Raise FileTooLarge if the current request declares more bytes."""
    if request.content_length is not None and request.content_length > max_bytes:
        raise FileTooLarge(
            f"The request has {request.content_length:,} bytes; the maximum is "
            f"{max_bytes:,}. Send a shorter or a compressed file."
        )


def read_form(services: Services, form: UploadForm) -> IncomingFile:
    """Read the form of the current request, whose file goes to the disk as it arrives."""
    services.storage.check_space(request.content_length or 0)
    services.quota.check_bytes(g.owner, request.content_length or 0)
    with watched(request.environ, services.upload_pace), _body_errors():
        boundary = request.mimetype_params.get("boundary", "")
        return form.read(request.stream, boundary, request.content_length)


def _checked_filename(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    if "/" in name or "\\" in name:
        raise BadFilename("The file name contains a path. Send the name without the path.")
    if audio.without_controls(name) != name:
        raise BadFilename("The file name contains control characters. Rename the file.")
    if not name or len(name) > MAX_FILENAME_CHARACTERS:
        raise BadFilename(
            f"The file name has {len(name)} characters; it must have 1 to "
            f"{MAX_FILENAME_CHARACTERS}."
        )
    return name


def _checked_content(
    incoming: IncomingFile, file_type: str, services: Services
) -> SoundInfo | None:
    if file_type != "txt":
        probe = audio.probe(incoming.path)
        services.uploads.check_length(probe)
        return sound_info(probe)
    services.models.check_text(incoming.path)
    return None


@contextmanager
def _body_errors() -> Iterator[None]:
    """Turn the errors of HTTP servers for a malformed body into BadRequest.

    gunicorn has its own error classes; Werkzeug's server raises OSError without an errno.
    """
    try:
        yield
    except Exception as error:
        is_numbered = isinstance(error, OSError) and error.errno is not None
        if is_numbered or not (
            isinstance(error, OSError) or type(error).__module__ == "gunicorn.http.errors"
        ):
            raise
        raise BadRequest(f"The request body cannot be read: {error}.") from None


def json_body() -> dict[str, Any]:
    """The JSON object of the current request; empty if there is no body."""
    return parsed_json(body_bytes())


def parsed_json(data: bytes) -> dict[str, Any]:
    """The JSON object in a body of the current request; empty if there is no body.

    It takes up to 24 times as much memory as the body.
    """
    if not data:
        return {}
    if not request.is_json:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype!r}. Send options as JSON, with the header "
            '"Content-Type: application/json".'
        )
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise InvalidJson('The body must be a JSON object such as {"model_variant": "htdemucs"}.')
    return body


def body_bytes() -> bytes:
    """The body of the current request. Raises BadRequest if it is incomplete."""
    try:
        with _body_errors():
            # Otherwise the request keeps the body until its job has ended.
            data = request.get_data(cache=False)
    except ClientDisconnected:
        raise BadRequest("The request body is incomplete. Send the request again.") from None
    if len(data) < (request.content_length or 0):
        raise BadRequest(
            f"The request body ended after {len(data):,} of {request.content_length:,} bytes. "
            "Send the request again."
        )
    return data


def check_query(operation: Operation) -> None:
    """Raise UnknownOption or InvalidOption if the query of the current request is invalid."""
    known = {one.name: one for one in operation.parameters if one.place == "query"}
    for name, values in request.args.lists():
        if name not in known:
            raise UnknownOption(
                f"Unknown query parameter {name!r}. "
                + (f"Known: {', '.join(known)}." if known else "This route has none.")
            )
        value = single(name, values)
        max_characters = known[name].schema.get("maxLength")
        if max_characters is not None and len(value) > max_characters:
            raise InvalidOption(
                f"The query parameter {name!r} has {len(value):,} characters; the maximum is "
                f"{max_characters}."
            )


def single(name: str, values: Sequence[str]) -> str:
    """The value of a query parameter. Raises InvalidOption if it occurs more than once."""
    if len(values) > 1:
        raise InvalidOption(
            f"The query parameter {name!r} occurs {len(values)} times. Send it once."
        )
    return values[0]
