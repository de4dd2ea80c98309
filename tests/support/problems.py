"""What the error tests share: requests built by hand, and what every error must look like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from studio.errors import all_errors
from tests.support.folders import paths_in
from tests.support.server import CLOSED_PORT, Server, until

TITLES = {error.code: (error.status, error.title) for error in all_errors()}
BOUNDARY = "x1y2z3"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class World:
    """A server and what lies on it: ids of a separated song, an untouched song, and a text."""

    server: Server
    done: str
    fresh: str
    text: str
    sounds: dict[str, bytes]


def part(filename: str, content: bytes, field: str = "file") -> bytes:
    """One part of a form, its file name byte for byte as given."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"'
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def send(server: Server, *parts: bytes) -> requests.Response:
    """Upload a form of parts."""
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return server.post("/upload", data=body, headers=FORM)


def assert_problem(answer: requests.Response, code: str, names: str = "") -> dict[str, Any]:
    """An answer is problem details with the code, and its sentence holds the text `names`."""
    body = answer.json()
    assert body["code"] == code, body
    status, title = TITLES[code]
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert (body["status"], body["title"]) == (status, title)
    assert body["type"] == f"/docs#{code}"
    assert body["detail"] == body["error"]
    assert_sentence(body["error"], names)
    return dict(body)


def assert_sentence(sentence: str, names: str) -> None:
    assert names in sentence, sentence
    assert sentence.endswith(".") and len(sentence) > 20, sentence
    for inside in ("Traceback", "Error:", "/tmp/", "studio.", "site-packages"):
        assert inside not in sentence, sentence


def without_network(folder: Path) -> dict[str, object]:
    """Settings of a server that reaches nobody and finds no weights in a cache."""
    nowhere = f"http://127.0.0.1:{CLOSED_PORT}"
    return {
        "https_proxy": nowhere,
        "http_proxy": nowhere,
        "no_proxy": "127.0.0.1",
        "HF_HOME": folder / "hub",
        "TORCH_HOME": folder / "torch",
    }


def left_on(server: Server) -> set[Path]:
    """All that lies in the uploads, once no results are on their way."""
    until(lambda: not [*(server.outputs / ".work").glob("*")])
    return paths_in(server.uploads)
