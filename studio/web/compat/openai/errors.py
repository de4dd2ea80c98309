"""Errors as OpenAI's clients read them."""

from typing import Any

from flask import Response, json

from studio.errors import (
    DiskFull,
    InternalError,
    Interrupted,
    ModelUnusable,
    QuotaExceeded,
    StudioError,
    Unauthorized,
    UnknownVariant,
    WeightsMissing,
)

# Codes and statuses that clients know, instead of ours.
_CODES: dict[type[StudioError], str] = {
    Unauthorized: "invalid_api_key",
    UnknownVariant: "model_not_found",
}
_STATUSES = {415: 400}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# Statuses that the clients retry, but some of whose errors stay.
_RETRIED = (408, 409, 429)
_STAYS = (DiskFull, InternalError, Interrupted, ModelUnusable, QuotaExceeded, WeightsMissing)


def render(error: StudioError) -> Response:
    """The response for an error."""
    status = 404 if isinstance(error, UnknownVariant) else _STATUSES.get(error.status, error.status)
    answer = Response(json.dumps(body_of(error)), status, mimetype="application/json")
    is_temporary = status in _RETRIED or status >= 500
    if not is_temporary or isinstance(error, _STAYS):
        answer.headers["x-should-retry"] = "false"
    return answer


def body_of(error: StudioError) -> dict[str, Any]:
    """The JSON of an error."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": error.sentence,
            "type": _TYPES.get(error.status, kind),
            "param": "model" if isinstance(error, UnknownVariant) else error.extra.get("param"),
            "code": _CODES.get(type(error), error.code),
        }
    }
