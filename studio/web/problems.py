"""Turns every error into RFC 9457 problem details, or into the format of another protocol."""

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, json, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from studio.errors import (
    BadRequest,
    FileTooLarge,
    InternalError,
    MethodNotAllowed,
    RangeNotSatisfiable,
    StudioError,
    Unauthorized,
    UnknownRoute,
    UnsupportedMediaType,
)
from studio.jobs import faults
from studio.logs import request_id
from studio.storage import space
from studio.storage.on_demand import Abandoned

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# The status nginx logs if the client closed the connection; nobody reads it.
CLIENT_LEFT = 499

Render = Callable[[StudioError], Response]
"""Makes the response for an error. The headers of the status are added to it."""


class ErrorFormats:
    """The formats of error responses, by prefixes of paths."""

    def __init__(self) -> None:
        self._renders: dict[str, Render] = {}

    def add(self, prefix: str, render: Render) -> None:
        """Use a format for the path `prefix` and all paths below it."""
        self._renders[prefix] = render

    def response(self, error: StudioError, path: str) -> Response:
        """The response for an error at a path."""
        renders = (
            render
            for prefix, render in self._renders.items()
            if path == prefix or path.startswith(f"{prefix}/")
        )
        answer = next(renders, problem)(error)
        if "retry_after_s" in error.extra:
            answer.headers["Retry-After"] = str(error.extra["retry_after_s"])
        if isinstance(error, Unauthorized):
            answer.headers["WWW-Authenticate"] = "Bearer"
            if not _is_browser():
                answer.headers.add("WWW-Authenticate", 'Basic realm="audio-studio"')
        return answer


def error_formats() -> ErrorFormats:
    """The error formats of the current application."""
    formats: ErrorFormats = current_app.extensions["error_formats"]
    return formats


def response(error: StudioError) -> Response:
    """The response for an error of the current request."""
    return error_formats().response(error, request.path)


def _is_browser() -> bool:
    """Whether a browser sent the current request.

    It would ask for a password over the page, and then send it with requests of other sites too.
    """
    headers = request.headers
    is_page = "Origin" in headers or "Sec-Fetch-Mode" in headers
    return is_page or headers.get("User-Agent", "").startswith("Mozilla/")


def problem(error: StudioError) -> Response:
    """Problem details."""
    body: dict[str, Any] = {
        "type": f"/docs#{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.sentence,
        "code": error.code,
        "error": error.sentence,
        "request_id": request_id.get(),
        **error.extra,
    }
    return Response(json.dumps(body), error.status, mimetype=MEDIA_TYPE)


def register(app: Flask, error_formats: ErrorFormats) -> None:
    app.extensions["error_formats"] = error_formats
    app.register_error_handler(StudioError, response)
    app.register_error_handler(Abandoned, lambda _: Response(status=CLIENT_LEFT))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, lambda error: response(as_studio_error(error)))


def _http(error: HTTPException) -> Response:
    """Handle errors raised by Flask and Werkzeug."""
    status = error.code or 500
    if status < 400:
        return Response(error.get_body(), status, dict(error.get_headers()))
    path = repr(request.path)
    kinds: dict[int, tuple[type[StudioError], str]] = {
        404: (UnknownRoute, f"The route {path} does not exist. GET /docs lists all routes."),
        405: (MethodNotAllowed, f"{path} does not support {request.method}."),
        413: (FileTooLarge, _too_large()),
        415: (UnsupportedMediaType, f"The content type {request.mimetype!r} is not supported."),
        416: (
            RangeNotSatisfiable,
            f"The range {request.headers.get('Range')} is outside the file.",
        ),
    }
    if status >= 500:
        return response(
            InternalError("The server could not process the request. Its log has the cause.")
        )
    kind, sentence = kinds.get(status, (BadRequest, f"The request is malformed: {error.name}."))
    allowed = sorted(getattr(error, "valid_methods", None) or [])
    if kind is MethodNotAllowed and allowed:
        sentence = f"{path} does not support {request.method}, only {', '.join(allowed)}."
    answer = response(kind(sentence))
    for name, value in error.get_headers():
        if name in ("Allow", "Content-Range", "Accept-Ranges"):
            answer.headers[name] = value
    return answer


def _too_large() -> str:
    sentence = f"The request is larger than the limit of {request.max_content_length:,} bytes"
    if request.mimetype == "multipart/form-data":
        sentence += f", or has more than {request.max_form_memory_size:,} bytes besides the file"
    return f"{sentence}."


def for_caller(error: Exception) -> StudioError:
    """The error that a caller gets for any exception."""
    if isinstance(error, StudioError):
        return error
    if isinstance(error, OSError) and (known := space.as_studio_error(error)):
        return known
    if isinstance(error, OperationalError):
        return faults.as_studio_error(error)
    return InternalError(
        "The request failed because of a bug in the server. Its log has the cause."
    )


def as_studio_error(error: Exception) -> StudioError:
    """The error for callers when an exception ends a request; its cause goes to the log."""
    known = for_caller(error)
    if known is not error:
        is_defect = isinstance(known, InternalError)
        log.error("unhandled error in a request" if is_defect else known.sentence, exc_info=error)
    return known
