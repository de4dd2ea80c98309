"""Sends a file as RFC 9110 says: conditions first (section 13.2.2), then a part of it (14.2)."""

import re
import unicodedata
from datetime import UTC, datetime
from itertools import chain
from pathlib import PurePath
from urllib.parse import quote, urlsplit

from flask import Response, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_range_header

from studio.errors import PreconditionFailed, ResultsGone
from studio.storage.results import RemoteFile, StoredFile
from studio.storage.uploads import Upload

# The internal location of nginx that fetches X-Stored-Address; see nginx/store.conf.
STORED = "/.stored"


def send(file: StoredFile, content_type: str, name: str) -> Response:
    """The answer with a file, or a part of it, which clients save as `name`.

    Raises PreconditionFailed, RequestedRangeNotSatisfiable for a range beyond the end, and
    ResultsGone.
    """
    answer = _whole(file, content_type)
    etag, _ = answer.get_etag()
    modified_at = answer.last_modified
    assert etag is not None and modified_at is not None
    try:
        _check_preconditions(etag, modified_at)
        answer.headers["Accept-Ranges"] = "bytes"
        attach(answer, name)
        if not _is_wanted(etag, modified_at):
            answer.status_code = 304
            return answer
        wants_part = _wants_part(etag, modified_at)
        if file.remote is not None:
            return _send_remote(answer, file.remote, content_type, wants_part)
        if wants_part:
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
    answer = _whole(file, "")
    etag, _ = answer.get_etag()
    answer.close()
    assert etag is not None
    return etag


def download_name(upload: Upload, track: str, file_type: str) -> str:
    """A file name based on that of the upload: "song - vocals.wav"."""
    return f"{PurePath(upload.filename).stem} - {track}.{file_type}"


def attach(answer: Response, name: str) -> None:
    """Let clients save an answer as `name`."""
    answer.headers["Content-Disposition"] = disposition(name)


def disposition(name: str) -> str:
    """The Content-Disposition of a download (RFC 6266), with an RFC 5987 and a plain file name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # Full-width letters may normalise to a path.
    plain = re.sub(r'[\x00-\x1f\x7f\\/:*?"<>|%]', "_", plain).strip(" -").lstrip(".") or "track"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _whole(file: StoredFile, content_type: str) -> Response:
    """The answer with a whole file; without a body if it is on another machine."""
    if file.remote is None:
        try:
            return send_file(file.path, mimetype=content_type or None, conditional=False)
        except FileNotFoundError:
            raise _gone() from None
    info = file.info()
    if info is None:
        raise _gone()
    answer = Response(mimetype=content_type)
    answer.set_etag(info.etag)
    answer.last_modified = datetime.fromtimestamp(int(info.modified_at), UTC)
    answer.content_length = info.size_bytes
    return answer


def _send_remote(
    answer: Response, remote: RemoteFile, content_type: str, wants_part: bool
) -> Response:
    """Let nginx fetch the file, or stream it."""
    size_bytes = answer.content_length or 0
    first, last = 0, size_bytes - 1
    if wants_part:
        asked = parse_range_header(request.headers["Range"])
        part = asked.range_for_length(size_bytes) if asked else None
        if part is None:
            raise RequestedRangeNotSatisfiable(size_bytes)
        first, last = part[0], part[1] - 1
        answer.status_code = 206
        answer.content_length = last - first + 1
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{size_bytes}"
    if request.method == "HEAD" or size_bytes == 0:
        return answer
    address = remote.address(content_type)
    if address is None:
        blocks = remote.read(first, last)
        # The first one is read before the status is sent, so that an error can be answered.
        try:
            answer.response = chain([next(blocks)], blocks)
        except FileNotFoundError:
            raise _gone() from None
        answer.call_on_close(blocks.close)
        return answer
    # nginx takes the status and the length from the answer of the store.
    answer.headers["X-Accel-Redirect"] = STORED
    parts = urlsplit(address)
    answer.headers["X-Stored-Address"] = f"{parts.path}?{parts.query}"
    if wants_part:
        answer.headers["X-Stored-Range"] = f"bytes={first}-{last}"
    for name in ("Content-Length", "Content-Range", "ETag", "Last-Modified"):
        answer.headers.pop(name, None)
    answer.status_code = 200
    return answer


def _gone() -> ResultsGone:
    """The error for a file that was deleted between two steps of a request."""
    return ResultsGone("The file has been deleted from the server. Start the job again.")


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
