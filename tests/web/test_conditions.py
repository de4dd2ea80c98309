"""Conditional requests and ranges of a download, as RFC 9110 defines them."""

from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
import requests
from flask import Flask

from studio.errors import ResultsGone
from studio.storage.disk_results import DiskFile
from studio.web import sending
from tests.support.problems import assert_problem
from tests.support.server import Server

PART = {"Range": "bytes=10-19"}
OTHER = '"another"'


@pytest.fixture(scope="module")
def track(server: Server, short_wav: Path) -> str:
    """The address of a track."""
    return f"/download/{server.separate(short_wav)}/vocals"


@pytest.fixture(scope="module")
def whole(server: Server, track: str) -> requests.Response:
    answer = server.get(track)
    assert answer.status_code == 200
    return answer


def moved(answer: requests.Response, seconds: int) -> str:
    """The date in Last-Modified, moved by so many seconds."""
    modified_at = parsedate_to_datetime(answer.headers["Last-Modified"])
    return format_datetime(modified_at + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "asked",
    [
        *("items=0-5", "seconds=10-20", "none=0-1", "Bytess=0-1", "bytes", ""),
        *("bytes=0-9,20-29", "bytes=0-9, -5", "bytes=0-0,1-1,2-2", "bytes=0-9,99999999999-"),
    ],
)
def test_other_ranges_are_answered_with_the_whole_file(
    server: Server, track: str, whole: requests.Response, asked: str
) -> None:
    answer = server.get(track, headers={"Range": asked})
    assert answer.status_code == 200
    assert "Content-Range" not in answer.headers
    assert answer.content == whole.content


@pytest.mark.parametrize("asked", ["bytes=10-19", "BYTES=10-19", "bytes= 10-19", "bytes = 10-19"])
def test_one_range_of_bytes_is_a_part(
    server: Server, track: str, whole: requests.Response, asked: str
) -> None:
    answer = server.get(track, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, whole.content[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    assert answer.headers["ETag"] == whole.headers["ETag"]


def test_head_has_no_ranges(server: Server, track: str, whole: requests.Response) -> None:
    answer = requests.head(server.url + track, headers=PART, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(whole.content))
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("more", [{}, PART])
@pytest.mark.parametrize("condition", [OTHER, f'{OTHER}, "third"', "W/{etag}"])
def test_if_match_that_fails(
    server: Server, track: str, whole: requests.Response, condition: str, more: dict[str, str]
) -> None:
    etag = whole.headers["ETag"]
    headers = {"If-Match": condition.format(etag=etag), **more}
    answer = server.get(track, headers=headers)
    assert_problem(answer, "precondition_failed", etag)
    assert len(answer.content) < 1000
    head = requests.head(server.url + track, headers=headers, timeout=30)
    assert (head.status_code, head.content) == (412, b"")


@pytest.mark.parametrize("condition", ["{etag}", f"{OTHER}, {{etag}}", "*"])
def test_if_match_that_holds(
    server: Server, track: str, whole: requests.Response, condition: str
) -> None:
    condition = condition.format(etag=whole.headers["ETag"])
    assert server.get(track, headers={"If-Match": condition}).content == whole.content
    assert server.get(track, headers={"If-Match": condition, **PART}).status_code == 206


def test_if_unmodified_since(server: Server, track: str, whole: requests.Response) -> None:
    for seconds, status in ((-1, 412), (0, 200), (60, 200)):
        headers = {"If-Unmodified-Since": moved(whole, seconds)}
        answer = server.get(track, headers=headers)
        assert answer.status_code == status
        if status == 412:
            assert_problem(answer, "precondition_failed", "If-Unmodified-Since")
        # If-Match is the better condition, where both are given.
        both = server.get(track, headers={**headers, "If-Match": whole.headers["ETag"]})
        assert both.status_code == 200
    assert server.get(track, headers={"If-Unmodified-Since": "yesterday"}).status_code == 200


@pytest.mark.parametrize("more", [{}, PART, {"If-Match": "*"}])
@pytest.mark.parametrize("condition", ["{etag}", "W/{etag}", "*", f"{OTHER}, {{etag}}"])
def test_if_none_match_comes_before_the_range(
    server: Server, track: str, whole: requests.Response, condition: str, more: dict[str, str]
) -> None:
    headers = {"If-None-Match": condition.format(etag=whole.headers["ETag"]), **more}
    answer = server.get(track, headers=headers)
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == whole.headers["ETag"]


def test_if_modified_since(server: Server, track: str, whole: requests.Response) -> None:
    for seconds, status in ((-1, 200), (0, 304), (60, 304)):
        headers = {"If-Modified-Since": moved(whole, seconds)}
        assert server.get(track, headers=headers).status_code == status
        # If-None-Match is the better condition, where both are given.
        both = server.get(track, headers={**headers, "If-None-Match": OTHER})
        assert both.status_code == 200


def test_if_range(server: Server, track: str, whole: requests.Response) -> None:
    """Only the same strong ETag or the very date of the file leads to a part."""
    etag = whole.headers["ETag"]
    for condition, status in (
        (etag, 206),
        (moved(whole, 0), 206),
        (OTHER, 200),
        (f"W/{etag}", 200),
        (moved(whole, -1), 200),
        (moved(whole, 60), 200),
        ("no date", 200),
    ):
        answer = server.get(track, headers={**PART, "If-Range": condition})
        assert answer.status_code == status, condition
        assert answer.content == (whole.content[10:20] if status == 206 else whole.content)
    # Without a range it means nothing.
    assert server.get(track, headers={"If-Range": OTHER}).status_code == 200


def test_a_file_that_was_deleted_meanwhile(tmp_path: Path) -> None:
    with Flask("test").test_request_context(), pytest.raises(ResultsGone):
        sending.send(DiskFile(tmp_path / "gone.wav"), "audio/wav", "gone.wav")
