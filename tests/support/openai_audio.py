"""Requests to OpenAI's audio API, with its Python client and without."""

import json
from pathlib import Path
from typing import Any

import requests
from openai import OpenAI

from tests.support.server import Server
from tests.support.speech import RECORDING

KEY = "openai-0123456789abcdef"
OTHER = "others-0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATH = "/v1/audio/transcriptions"


def client_of(server: Server, key: str = KEY, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=retries)


def ask(server: Server, path: Path = RECORDING, **fields: Any) -> requests.Response:
    """A transcription of the recording, asked without the client."""
    files = {"file": (path.name, path.read_bytes())}
    return server.post(PATH, files=files, data=fields, headers=HEADERS)


def jobs_of(server: Server, content: bytes) -> list[dict[str, Any]]:
    """The jobs of the temporary upload with this content, which must have one name."""
    found = []
    for record in server.uploads.glob("*/upload.json"):
        upload = json.loads(record.read_text("utf-8"))
        if upload["size_bytes"] == len(content) and upload["is_temporary"]:
            found.append(server.get(f"/status/{upload['file_id']}", headers=HEADERS).json()["jobs"])
    assert len(found) <= 1
    return list(found[0]) if found else []


def newest(server: Server) -> str:
    return max(
        server.uploads.glob("*/upload.json"), key=lambda path: path.stat().st_mtime
    ).parent.name


def assert_error(answer: requests.Response, status: int, code: str, param: str | None) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    return str(error["message"])
