"""Turns every error into RFC 9457 problem details."""

import logging
from typing import Any

from flask import Flask, Response, json, request
from sqlalchemy.exc import OperationalError, SQLAlchemyError
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
        "request_id": request_id.get(),
        **error.extra,
    }
    answer = Response(json.dumps(body), error.status, mimetype=MEDIA_TYPE)
    if "retry_after_s" in error.extra:
        answer.headers["Retry-After"] = str(error.extra["retry_after_s"])
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def register(app: Flask) -> None:
    app.register_error_handler(StudioError, response)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OSError, _disk)
    app.register_error_handler(SQLAlchemyError, _database)
    app.register_error_handler(Exception, _defect)


def _http(error: HTTPException) -> Response:
    """Errors that Flask and Werkzeug find by themselves."""
    status = error.code or 500
    if status < 400:
        return Response(error.get_body(), status, dict(error.get_headers()))
    path = repr(request.path)
    kinds: dict[int, tuple[type[StudioError], str]] = {
        404: (UnknownRoute, f"There is nothing at {path}. GET /docs lists all addresses."),
        405: (MethodNotAllowed, f"{path} does not take {request.method}."),
        413: (FileTooLarge, _too_large()),
        415: (UnsupportedMediaType, f"The content type {request.mimetype!r} is not accepted."),
        416: (RangeNotSatisfiable, f"{request.headers.get('Range')} lies outside of the file."),
    }
    if status >= 500:
        return response(InternalError("The server could not answer; its log has the cause."))
    kind, sentence = kinds.get(status, (BadRequest, f"The request cannot be read: {error.name}."))
    allowed = sorted(getattr(error, "valid_methods", None) or [])
    if kind is MethodNotAllowed and allowed:
        sentence = f"{path} does not take {request.method}, only {', '.join(allowed)}."
    answer = response(kind(sentence))
    for name, value in error.get_headers():
        if name in ("Allow", "Content-Range", "Accept-Ranges"):
            answer.headers[name] = value
    return answer


def _too_large() -> str:
    sentence = f"The request is larger than the {request.max_content_length:,} bytes accepted here"
    if request.mimetype == "multipart/form-data":
        sentence += f", or has more than {request.max_form_memory_size:,} bytes beside the file"
    return f"{sentence}."


def _disk(error: OSError) -> Response:
    known = space.as_studio_error(error)
    if known is None:
        return _defect(error)
    log.error("the disk cannot be written", exc_info=error)
    return response(known)


def _database(error: SQLAlchemyError) -> Response:
    if not isinstance(error, OperationalError):
        return _defect(error)
    log.error("the job database failed", exc_info=error)
    return response(faults.as_studio_error(error))


def _defect(error: Exception) -> Response:
    log.exception("a request failed", exc_info=error)
    return response(
        InternalError("The request failed because of a defect; the server's log has the cause.")
    )
