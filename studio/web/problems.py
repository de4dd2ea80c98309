"""Turns every error into RFC 9457 problem details."""

import logging
from typing import Any

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from studio.errors import (
    BadRequest,
    FileTooLarge,
    InternalError,
    MethodNotAllowed,
    RangeNotSatisfiable,
    StudioError,
    UnknownRoute,
    UnsupportedMediaType,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def response(error: StudioError) -> Response:
    """The answer for an error."""
    body: dict[str, Any] = {
        "type": f"/docs#{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.sentence,
        "code": error.code,
        "error": error.sentence,
        **error.extra,
    }
    answer = Response(json.dumps(body), error.status, mimetype=MEDIA_TYPE)
    if "retry_after_s" in error.extra:
        answer.headers["Retry-After"] = str(error.extra["retry_after_s"])
    return answer


def register(app: Flask) -> None:
    app.register_error_handler(StudioError, response)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _defect)


def _http(error: HTTPException) -> Response:
    """Errors that Flask and Werkzeug find by themselves."""
    status = error.code or 500
    if status < 400:
        return Response(error.get_body(), status, dict(error.get_headers()))
    kinds: dict[int, tuple[type[StudioError], str]] = {
        404: (UnknownRoute, "There is nothing at this address. GET /docs lists all addresses."),
        405: (MethodNotAllowed, "This address does not take that method."),
        413: (FileTooLarge, "The request is larger than the server accepts."),
        415: (UnsupportedMediaType, "The body has the wrong content type."),
        416: (RangeNotSatisfiable, "The requested range lies outside of the file."),
    }
    if status >= 500:
        return response(InternalError("The server could not answer; its log has the cause."))
    kind, sentence = kinds.get(status, (BadRequest, f"The request cannot be read: {error.name}."))
    allowed = sorted(getattr(error, "valid_methods", None) or [])
    if kind is MethodNotAllowed and allowed:
        sentence = f"This address takes {', '.join(allowed)} only."
    answer = response(kind(sentence))
    for name, value in error.get_headers():
        if name in ("Allow", "Content-Range", "Accept-Ranges"):
            answer.headers[name] = value
    return answer


def _defect(error: Exception) -> Response:
    log.exception("a request failed", exc_info=error)
    return response(
        InternalError("The request failed because of a defect; the server's log has the cause.")
    )
