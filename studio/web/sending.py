"""Sends a file as RFC 9110 says: conditions first (section 13.2.2), then a part of it (14.2)."""

from datetime import datetime

from flask import Response, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from studio.errors import PreconditionFailed
from studio.storage.files import StoredFile


def send(file: StoredFile, content_type: str) -> Response:
    """The answer with a file, or a part of it. Raises PreconditionFailed.

    Raises RequestedRangeNotSatisfiable for a range beyond the end.
    """
    answer = send_file(file.path, mimetype=content_type, conditional=False)
    etag, _ = answer.get_etag()
    modified_at = answer.last_modified
    assert etag is not None and modified_at is not None
    try:
        _check_preconditions(etag, modified_at)
        answer.headers["Accept-Ranges"] = "bytes"
        if not _is_wanted(etag, modified_at):
            answer.status_code = 304
        elif _wants_part(etag, modified_at):
            answer.make_conditional(
                {"REQUEST_METHOD": "GET", "HTTP_RANGE": request.headers["Range"]},
                accept_ranges=True,
                complete_length=answer.content_length,
            )
    except (PreconditionFailed, RequestedRangeNotSatisfiable):
        answer.close()
        raise
    return answer


def etag_of(file: StoredFile) -> str:
    """The ETag with which `send` answers for a file."""
    answer = send_file(file.path, conditional=False)
    etag, _ = answer.get_etag()
    answer.close()
    assert etag is not None
    return etag


def _check_preconditions(etag: str, modified_at: datetime) -> None:
    if "If-Match" in request.headers:
        if not (request.if_match.star_tag or request.if_match.is_strong(etag)):
            raise PreconditionFailed(
                f'The ETag of the file is "{etag}", which is not in If-Match. Restart the download.'
            )
    elif (asked_at := request.if_unmodified_since) and modified_at > asked_at:
        raise PreconditionFailed(
            "The file was modified after the time in If-Unmodified-Since. Restart the download."
        )


def _is_wanted(etag: str, modified_at: datetime) -> bool:
    """Whether the client has no copy, or another one."""
    if "If-None-Match" in request.headers:
        return not request.if_none_match.contains_weak(etag)
    asked_at = request.if_modified_since
    return asked_at is None or modified_at > asked_at


def _wants_part(etag: str, modified_at: datetime) -> bool:
    """Whether one range of bytes is asked for, and of this very file.

    Other units and several ranges are answered with the whole file, as the RFC allows.
    """
    unit, separator, ranges = request.headers.get("Range", "").partition("=")
    if request.method != "GET" or not separator or unit.strip().lower() != "bytes":
        return False
    if "," in ranges:
        return False
    if "If-Range" not in request.headers:
        return True
    condition = request.headers["If-Range"].strip()
    if condition.startswith(('"', "W/")):
        return condition == f'"{etag}"'
    return request.if_range.date == modified_at
