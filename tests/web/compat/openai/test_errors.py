"""The errors of OpenAI's audio API, as its clients read them."""

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from tests.support.in_process import application
from tests.support.openai_audio import HEADERS, PATH, ask, assert_error, client_of
from tests.support.server import Server
from tests.support.speech import RECORDING


@pytest.mark.parametrize(
    ("fields", "code", "param", "says"),
    [
        ({"response_format": "diarized_json"}, "invalid_option", "response_format", "speakers"),
        ({"response_format": "xml"}, "invalid_option", "response_format", "'xml'"),
        ({"temperature": "2"}, "invalid_option", "temperature", "from 0 to 1"),
        ({"temperature": "nan"}, "invalid_option", "temperature", "'nan'"),
        ({"temperature": "-1e-05"}, "invalid_option", "temperature", "from 0 to 1"),
        ({"temperature": "warm"}, "invalid_option", "temperature", "'warm'"),
        ({"temperature": "0." + "0" * 100}, "invalid_option", "temperature", "from 0 to 1"),
        ({"language": "klingon"}, "invalid_option", "language", "'klingon'"),
        ({"timestamp_granularities[]": "a"}, "invalid_option", "timestamp_granularities", "'a'"),
        ({"stream": "maybe"}, "invalid_option", "stream", "true or false"),
        ({"stream": "1", "response_format": "srt"}, "invalid_option", "response_format", "json"),
        ({"keywords": "x" * 501}, "invalid_option", "keywords", "501"),
    ],
)  # fmt: skip
def test_wrong_fields(
    server: Server, fields: dict[str, str], code: str, param: str, says: str
) -> None:
    answer = ask(server, RECORDING, **fields)
    assert says in assert_error(answer, 400, code, param)
    assert answer.headers["x-should-retry"] == "false"


def test_error_classes(server: Server, client: OpenAI, tmp_path: Path) -> None:
    with (
        client_of(server, "wrong-0123456789abcdef") as stranger,
        pytest.raises(openai.AuthenticationError) as unknown,
    ):
        stranger.models.list()
    assert unknown.value.code == "invalid_api_key"
    text = tmp_path / "song.wav"
    text.write_text("no sound")
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=text)
    assert refused.value.code == "not_audio"
    with pytest.raises(openai.NotFoundError) as missing, open(RECORDING, "rb") as file:
        client.audio.transcriptions.create(model="whisper-9", file=file)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")


def test_a_stream_says_that_the_database_fails(tmp_path: Path) -> None:
    with (
        application(tmp_path, WHISPER_MODEL="mini") as app,
        app.test_client() as client,
        closing(sqlite3.connect(tmp_path / "outputs" / ".jobs.sqlite3")) as database,
        open(RECORDING, "rb") as file,
    ):
        answer = client.post(PATH, data={"file": (file, RECORDING.name), "stream": "true"})
        assert answer.status_code == 200
        # Its events are made while they are read.
        database.execute("ALTER TABLE jobs RENAME TO away")
        *_, event, data = answer.get_data(as_text=True).strip().splitlines()
        database.execute("ALTER TABLE away RENAME TO jobs")
    assert event == "event: error"
    error = json.loads(data.removeprefix("data: "))["error"]
    assert (error["code"], error["type"]) == ("storage_unavailable", "server_error")
    assert "does not respond" in error["message"]


def test_errors_of_paths_have_the_form(server: Server) -> None:
    assert_error(server.get("/v1/nothing"), 404, "unknown_route", None)
    assert_error(server.get(PATH), 405, "method_not_allowed", None)
    assert_error(server.post(PATH), 401, "invalid_api_key", None)
    assert_error(server.post(PATH, headers=HEADERS), 400, "unsupported_media_type", None)
    too_large = {**HEADERS, "Content-Length": "600000000", "Content-Type": "multipart/form-data"}
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
        head = "".join(f"{name}: {value}\r\n" for name, value in too_large.items())
        caller.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        caller.shutdown(socket.SHUT_WR)
        with caller.makefile("rb") as received:
            answer = received.read().decode()
    assert answer.startswith("HTTP/1.1 413") and '"error": {"message": ' in answer
    assert server.get("/elsewhere").headers["Content-Type"] == "application/problem+json"
