"""The requests of OpenAI's audio API: options, and files in forms and in JSON."""

import base64
from pathlib import Path

import pytest
import requests
from openai import OpenAI

from studio.web.compat.openai.fields import requested
from tests.support.openai_audio import (
    HEADERS,
    KEY,
    PATH,
    ask,
    jobs_of,
)
from tests.support.server import Server
from tests.support.sounds import convert
from tests.support.speech import RECORDING


def test_vocals_of_a_song(server: Server, client: OpenAI, short: Path) -> None:
    client.audio.transcriptions.create(model="vocals:mini", file=short)
    job = jobs_of(server, short.read_bytes())[0]
    assert job["options"]["source"] == "vocals"
    assert job["result"]["source"] == "vocals"


def test_options_of_the_job(server: Server, short: Path) -> None:
    answer = ask(
        server,
        short,
        model="gpt-4o-transcribe",
        prompt="x" * 1001 + "yankee",
        **{"keywords[]": ["mike", "papa"], "languages[]": ["en"], "include[]": ["logprobs"]},
        temperature="0.2",
        chunking_strategy="auto",
        anything="else",
    )
    assert answer.status_code == 200, answer.text
    job = jobs_of(server, short.read_bytes())[0]
    options = job["options"]
    assert (job["variant"], options["hotwords"], options["language"]) == (
        "mini",
        "mike, papa",
        "en",
    )
    assert options["initial_prompt"] == "x" * 994 + "yankee"
    assert options["temperature"] == 0.2


@pytest.mark.parametrize("text", ["0.30000000000000004", "0.6000000000000001", "1e-05", ".5", "1."])
def test_temperatures_as_programs_write_them(text: str) -> None:
    assert requested({"temperature": [text]}, "transcribe").temperature == float(text)


def test_json_bodies(server: Server) -> None:
    body = {
        "model": "whisper-1",
        "input_audio": {
            "data": base64.b64encode(RECORDING.read_bytes()).decode(),
            "format": "flac",
        },
        "timestamp_granularities": ["word"],
        "response_format": "verbose_json",
        "temperature": 0,
    }
    answer = server.post(PATH, json=body, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["words"]
    for audio in ("", {"data": "%%%"}, {"data": ""}, None):
        refused = server.post(PATH, json={**body, "input_audio": audio}, headers=HEADERS)
        assert refused.status_code == 400, refused.text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("recording", ("-c:a", "libopus", "-f", "webm", "-live", "1")),
        ("blob", ("-c:a", "aac", "-f", "mp4", "-movflags", "frag_keyframe")),
        ("voice.ogg", ("-c:a", "libopus", "-f", "webm")),
        ("/tmp/C:\\x\\a.b\n.dat", ("-c:a", "libmp3lame", "-f", "mp3")),
    ],
)  # fmt: skip
def test_files_by_content(
    server: Server, short: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    path = convert(short, tmp_path / "file", *options)
    answer = server.post(PATH, files={"file": (name, path.read_bytes())}, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["text"].split()) > 3


def test_chunked_bodies(server: Server) -> None:
    form = requests.Request(
        "POST",
        server.url,
        files={"file": ("x.flac", RECORDING.read_bytes())},
        data={"model": "mini"},
    ).prepare()
    body = form.body
    assert isinstance(body, bytes)
    pieces = (body[start : start + 5000] for start in range(0, len(body), 5000))
    headers = {**HEADERS, "Content-Type": form.headers["Content-Type"]}
    answer = server.post(PATH, data=pieces, headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_key_in_the_address(server: Server) -> None:
    address = server.url.replace("http://", f"http://x:{KEY}@")
    assert requests.get(f"{address}/v1/models", timeout=30).status_code == 200
    wrong_key = server.url.replace("http://", f"http://{KEY}:x@")
    assert requests.get(f"{wrong_key}/v1/models", timeout=30).status_code == 401
