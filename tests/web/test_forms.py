"""Upload forms as clients really send them, byte for byte: odd, unfinished and wrong ones."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.problems import BOUNDARY, FORM, assert_problem, assert_sentence, left_on, send
from tests.support.server import Server

END = f"--{BOUNDARY}--\r\n".encode()
UNUSED_INPUT = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"; filename=""\r\n'
    "Content-Type: application/octet-stream\r\n\r\n\r\n"
)


def file_part(disposition: bytes, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode() + disposition
    return head + b"\r\nContent-Type: audio/wav\r\n\r\n" + content + b"\r\n"


def named(filename: bytes, content: bytes) -> bytes:
    return file_part(b'name="file"; filename="%s"' % filename, content)


def unused(field: str) -> bytes:
    return (UNUSED_INPUT % field).encode()


def sent_and_ended(server: Server, path: str, headers: dict[str, str], body: bytes) -> Any:
    """Send a request whose connection ends after the body; status and JSON of the answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sender:
        sender.sendall(head.encode() + b"\r\n" + body)
        sender.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sender.recv(65_536):
            answer += data
    status = int(answer.split(b" ", 2)[1])
    return status, json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"caf\xe9.wav", "café.wav"),
        (b"\x80uro \x93live\x94.wav", "€uro “live”.wav"),
        (b"na\xefve \xdcber.WAV", "naïve Über.WAV"),
        # Bytes that Windows-1252 does not define, as in names in Shift-JIS.
        (b"\x81\x46.wav", "\ufffdF.wav"),
        ("café.wav".encode(), "café.wav"),
        ("cafe\u0301.wav".encode(), "café.wav"),
        ("夜曲.wav".encode(), "夜曲.wav"),
    ],
)
def test_a_file_name_in_any_encoding(
    server: Server, short_wav: Path, raw: bytes, name: str
) -> None:
    answer = send(server, named(raw, short_wav.read_bytes()))
    assert answer.status_code == 201, answer.text
    assert answer.json()["filename"] == name
    assert answer.json()["bytes"] == short_wav.stat().st_size


def test_a_text_field_in_any_encoding_does_no_harm(server: Server, short_wav: Path) -> None:
    text = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k\u00fcnstler"\r\n\r\n'
    answer = send(
        server,
        text.encode("latin-1") + b"Bj\xf6rk\r\n",
        named(b"song.wav", short_wav.read_bytes()),
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("order", ["before", "after", "both"])
@pytest.mark.parametrize("field", ["file", "cover", "file2"])
def test_an_unused_file_input_is_ignored(
    server: Server, short_wav: Path, field: str, order: str
) -> None:
    before = [unused(field)] if order != "after" else []
    after = [unused(field)] if order != "before" else []
    answer = send(server, *before, named(b"song.wav", short_wav.read_bytes()), *after)
    assert answer.status_code == 201, answer.text
    assert answer.json()["bytes"] == short_wav.stat().st_size


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([], "empty"),
        ([unused("file")], "no file was chosen"),
        ([unused("file"), unused("cover")], "no file was chosen"),
        ([file_part(b'name="song"; filename="a.wav"', b"RIFF")], "'song'"),
        ([unused("file"), file_part(b'filename="a.wav"', b"RIFF")], "''"),
    ],
)
def test_a_form_without_a_file(server: Server, parts: list[bytes], names: str) -> None:
    before = left_on(server)
    assert_problem(send(server, *parts), "no_file", names)
    assert left_on(server) == before


def test_bytes_without_a_file_name_are_not_ignored(server: Server, short_wav: Path) -> None:
    content = short_wav.read_bytes()
    before = left_on(server)
    for parts in (
        [named(b"", content)],
        [named(b"a.wav", content), file_part(b'name="other"; filename=""', b"x")],
    ):
        assert_problem(send(server, *parts), "bad_filename", "no name")
    assert left_on(server) == before


@pytest.mark.parametrize(
    ("content_type", "names"),
    [
        ("multipart/form-data", "boundary"),
        ("multipart/form-data; boundary=", "boundary"),
        ('multipart/form-data; boundary=""', "boundary"),
        ("multipart/form-data; charset=utf-8", "boundary"),
        ("multipart/form-data; boundary=caf\u00e9", "boundary"),
        ("multipart/form-data; boundary=another", "'another' of the header"),
    ],
)
@pytest.mark.parametrize("size", [0, 900_000])
def test_a_boundary_that_is_missing_or_wrong(
    server: Server, short_wav: Path, content_type: str, names: str, size: int
) -> None:
    """Also where much comes before the boundary would be missed."""
    before = left_on(server)
    body = named(b"song.wav", short_wav.read_bytes() + bytes(size)) + END
    answer = requests.post(
        f"{server.url}/upload",
        data=body,
        headers={"Content-Type": content_type.encode("latin-1")},
        timeout=60,
    )
    assert_problem(answer, "bad_request", names)
    assert left_on(server) == before


@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
@pytest.mark.parametrize(
    ("ends", "cut"),
    [
        *(("body", cut) for cut in (3, 60, 5000, -3, -len(BOUNDARY) - 4)),
        *(("connection", cut) for cut in (0, 3, 60, 5000, -3)),
    ],
)
def test_a_body_that_breaks_off(
    server: Server, short_wav: Path, ends: str, cut: int, is_chunked: bool
) -> None:
    """The sender believes that it sent all, or its connection ends in the middle."""
    before = left_on(server)
    whole = named(b"song.wav", short_wav.read_bytes()) + END
    body = whole[:cut]
    headers = {**FORM, "Content-Length": str(len(body if ends == "body" else whole))}
    if is_chunked:
        headers = {**FORM, "Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        body += b"0\r\n\r\n" if ends == "body" else b"7fff\r\nxx"
    status, problem = sent_and_ended(server, "/upload", headers, body)
    assert (status, problem["code"]) == (400, "bad_request")
    assert_sentence(problem["error"], "boundary" if (cut, ends) == (3, "body") else "breaks off")
    assert left_on(server) == before


def test_a_part_without_a_disposition(server: Server) -> None:
    parts = f"--{BOUNDARY}\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n".encode()
    assert_problem(send(server, parts), "bad_request", "Content-Disposition")


def test_a_whole_form_may_be_less_than_its_length(server: Server, short_wav: Path) -> None:
    """The end of the form was there: nothing of the file is missing."""
    body = named(b"song.wav", short_wav.read_bytes()) + END
    headers = {**FORM, "Content-Length": str(len(body) + 100)}
    status, uploaded = sent_and_ended(server, "/upload", headers, body)
    assert (status, uploaded["bytes"]) == (201, short_wav.stat().st_size)


@pytest.mark.parametrize("sent", [b"", b" ", b'{"stems": ["voc', b'{"stems": ["vocals"]}'])
def test_options_that_break_off_start_no_job(server: Server, short_wav: Path, sent: bytes) -> None:
    file_id = server.upload(short_wav)
    headers = {"Content-Type": "application/json", "Content-Length": "40"}
    status, problem = sent_and_ended(server, f"/process/demucs/{file_id}", headers, sent)
    assert (status, problem["code"]) == (400, "bad_request")
    assert_sentence(problem["error"], "breaks off")
    assert server.get(f"/status/{file_id}").json()["jobs"] == []
