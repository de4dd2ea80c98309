"""The API's own description is valid, complete, and true: every answer is as it says."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from studio.generation.options import GenerationOptions
from studio.separation.options import SeparationOptions
from studio.transcription.options import TranscriptionOptions
from studio.web.remedies import REMEDIES
from tests.support.problems import without_network
from tests.support.server import ROOT, Server
from tests.support.sounds import noise, write_wav

CONTRACT = {
    "/health": {"get"},
    "/ready": {"get"},
    "/metrics": {"get"},
    "/models": {"get"},
    "/upload": {"post"},
    "/process/{model}/{file_id}": {"post"},
    "/process/demucs/{file_id}": {"post"},
    "/process/whisper/{file_id}": {"post"},
    "/process/musicgen/{file_id}": {"post"},
    "/process/analysis/{file_id}": {"post"},
    "/separate/{file_id}": {"post"},
    "/status/{file_id}": {"get"},
    "/cancel/{file_id}": {"post"},
    "/download/{file_id}/all.zip": {"get"},
    "/download/{file_id}/stems.{file_format}": {"get"},
    "/download/{file_id}/mix.{file_format}": {"get"},
    "/download/{file_id}/original": {"get"},
    "/download/{file_id}/karaoke.mp4": {"get"},
    "/download/{file_id}/{track}": {"get"},
    "/files": {"get"},
    "/files/{file_id}": {"get"},
    "/files/{file_id}/{track}": {"put", "delete"},
    "/cleanup/{file_id}": {"delete"},
    "/links": {"post"},
    "/session": {"post", "delete"},
}
NAMES = [
    *("check_health", "check_readiness", "get_metrics", "list_models"),
    *("upload_file", "delete_file"),
    *("start_job", "start_demucs_job", "start_whisper_job", "start_musicgen_job"),
    "start_analysis_job",
    *("separate_file", "get_status", "cancel_jobs"),
    *("list_files", "edit_track", "restore_track"),
    *(
        "download_archive",
        "download_karaoke",
        "download_mix",
        "download_original",
        "download_stems",
        "download_track",
        "list_tracks",
    ),
    *("create_link", "sign_in", "sign_out"),
]
EXAMPLE_ID = "5f0c1c6e0f4e4b0f9d6f2a7b8c9d0e1f"
TRUTHS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server for thousands of odd requests: nothing that they start reaches the network."""
    folder = tmp_path_factory.mktemp("described")
    server = Server(
        folder, MODEL_DIR=weights, DEMUCS_MODEL="tiny", **without_network(folder)
    ).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def document(described: Server) -> dict[str, Any]:
    answer = described.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return dict(answer.json())


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == CONTRACT
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert sorted(op["operationId"] for op in operations) == sorted(NAMES)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for op in operations for tag in op["tags"]} == tags
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert given == set(re.findall(r"{(\w+)}", path))
            assert all(parameter["description"] for parameter in operation["parameters"])


@pytest.mark.parametrize("kind", [SeparationOptions, TranscriptionOptions, GenerationOptions])
def test_options_are_described(document: dict[str, Any], kind: type[BaseModel]) -> None:
    options = document["components"]["schemas"][kind.__name__]
    assert options["additionalProperties"] is False
    assert list(options["properties"]) == [*kind.model_fields, "webhook"]
    assert all(about["description"] for about in options["properties"].values())


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a part of the document, from the outside in."""
    if isinstance(part, dict):
        yield part
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from schemas_in(inner)


def content_of(document: dict[str, Any], path: str, status: str = "200") -> dict[str, Any]:
    [operation] = document["paths"][path].values()
    return dict(operation["responses"][status]["content"])


@pytest.mark.parametrize(
    ("model", "job", "result"),
    [
        ("demucs", "DemucsJob", "SeparationResult"),
        ("whisper", "WhisperJob", "TranscriptionResult"),
        ("musicgen", "MusicgenJob", "GenerationResult"),
        ("analysis", "AnalysisJob", "AnalysisResult"),
    ],
)
def test_results_are_typed(document: dict[str, Any], model: str, job: str, result: str) -> None:
    schemas = document["components"]["schemas"]
    content = content_of(document, f"/process/{model}/{{file_id}}", "202")
    assert content == {"application/json": {"schema": {"$ref": f"#/components/schemas/{job}"}}}
    result_ref = {"$ref": f"#/components/schemas/{result}"}
    assert schemas[job]["properties"]["model"]["const"] == model
    assert schemas[job]["properties"]["result"]["anyOf"] == [result_ref, {"type": "null"}]
    assert result_ref in schemas["Job"]["properties"]["result"]["anyOf"]


def test_answers_may_get_more_members(document: dict[str, Any]) -> None:
    """Clients that check answers strictly would otherwise break with every new member."""
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith("Options"):
            closed = [one for one in schemas_in(schema) if one.get("additionalProperties") is False]
            assert closed == []


def test_downloads_are_binary(document: dict[str, Any]) -> None:
    track = content_of(document, "/download/{file_id}/{track}")
    binary = {"schema": {"type": "string", "format": "binary"}}
    assert next(iter(track)) == "application/octet-stream"
    assert track["audio/flac"] == track["application/octet-stream"] == binary
    assert track["text/vtt"] == {"schema": {"type": "string"}}
    assert content_of(document, "/download/{file_id}/all.zip")["application/zip"] == binary


def test_times_are_dates(document: dict[str, Any]) -> None:
    job = document["components"]["schemas"]["Job"]["properties"]
    assert job["created_at"]["format"] == "date-time"
    assert [one.get("format") for one in job["finished_at"]["anyOf"]] == ["date-time", None]


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    components = {"components": document["components"]}
    shown = [one for one in schemas_in(document) if isinstance(one.get("examples"), list)]
    assert len(shown) > 30
    for schema in shown:
        for example in schema["examples"]:
            Draft202012Validator({**components, **schema}).validate(example)
    for path in document["paths"].values():
        for operation in path.values():
            by_name = {one["name"]: one for one in operation["parameters"]}
            assert "file_id" not in by_name or by_name["file_id"]["example"]


def test_the_page_shows_all_of_it(described: Server, document: dict[str, Any]) -> None:
    answer = described.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = answer.text
    for path, methods in document["paths"].items():
        assert f">{path}<" in page
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page
            for about in operation["responses"].values():
                for code in re.findall(r"`(\w+)`", about["description"]):
                    assert f'id="{code}"' in page
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    for code, remedy in REMEDIES.items():
        assert f'id="{code}"' in page
        assert escape(remedy.partition("`")[0], quote=False) in page
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page), "the page needs no other host"
    assert page.rindex('id="get_metrics"') > page.rindex('id="live-jobs"')


def test_a_client_that_has_the_reference_does_not_get_it_again(described: Server) -> None:
    """And the page shows the name of the server that was asked for."""
    for path in ("/openapi.json", "/docs"):
        first = described.get(path)
        again = described.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert described.get(path).content == first.content
    local = described.get("/docs", headers={"Host": f"localhost:{described.port}"})
    assert f"http://localhost:{described.port}" in local.text
    assert f"http://localhost:{described.port}" not in described.get("/docs").text


def test_the_page_names_all_events(described: Server) -> None:
    page = described.get("/docs").text
    protocol = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    tables = re.findall(r"^\| event \|.*\n\|.*\n((?:\|.*\n)+)", protocol, re.M)
    assert len(tables) == 3
    for cell in re.findall(r"^\|([^|]+)\|", "".join(tables), re.M):
        for event in re.findall(r"`(\w+)`", cell):
            assert f"<td><code>{event}</code>" in page or f", <code>{event}</code></td>" in page


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_the_code_of_the_page_runs(
    described: Server, tmp_path: Path, language: str, short_wav: Path
) -> None:
    """As it stands there, one operation after the other."""
    page = described.get("/docs").text
    shutil.copy(short_wav, tmp_path / "song.mp3")
    code = re.compile(
        rf'<pre class="code" data-language="{language}"[^>]*><code>(.*?)</code></pre>', re.DOTALL
    )
    command = ["bash", "-c"] if language == "curl" else [sys.executable, "-c"]

    def run(operation: str, file_id: str = "") -> str:
        [text] = code.findall(page[page.index(f'<details class="card" id="{operation}"') :])[:1]
        text = unescape(text).replace(EXAMPLE_ID, file_id)
        assert described.url in text
        done = subprocess.run(
            [*command, text], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, text + done.stderr
        return done.stdout

    assert "healthy" in run("check_health")
    file_id = json.loads(run("upload_file"))["file_id"]
    assert json.loads(run("start_demucs_job", file_id))["options"]["format"] == "mp3"
    assert described.wait(file_id)["status"] == "completed"
    run("download_track", file_id)
    assert (tmp_path / "vocals.wav").stat().st_size > 1000
    run("delete_file", file_id)
    assert described.get(f"/status/{file_id}").status_code == 404


def test_the_start_page_leads_to_the_documentation(described: Server) -> None:
    """With the studio, or where its packages are missing."""
    assert 'href="/docs"' in described.get("/").text


EXAMPLES = 20
"""Requests of each kind for each operation."""


def ask_at_random(server: Server, folder: Path, settings: str, *more: str) -> str:
    """Let schemathesis send requests of every kind, good and bad; what it reports."""
    config = folder / "schemathesis.toml"
    config.write_text(settings)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)]
    command += ["run", f"{server.url}/openapi.json", "--checks", ",".join(TRUTHS), *more]
    command += ["--seed", "1", "--max-examples", str(EXAMPLES), "--no-color"]
    command += ["--request-timeout", "60"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_any_request_is_answered_as_described(described: Server, tmp_path: Path) -> None:
    """Well-formed or not: never a defect, always a status and a shape of the document."""
    report = ask_at_random(described, tmp_path, "")
    assert f"Tested: {len(NAMES)}" in report
    assert described.get("/health").status_code == 200


@pytest.mark.slow
def test_requests_for_real_files_are_answered_as_described(
    described: Server, tmp_path: Path
) -> None:
    """The same with a model, files and a track that exist."""
    song = write_wav(tmp_path / "song.wav", noise(0.5, seed=51))
    settings = f"""
[parameters]
file_id = "{described.separate(song)}"
track = "instrumental"
file_format = "flac"
model = "demucs"
# Random ones become longer than the line of a request may be.
link = "none"

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx"]

[[operations]]
include-path-regex = "^/(process|separate|cancel)/"
parameters = {{ file_id = "{described.upload(song)}" }}

[[operations]]
include-path-regex = "/original$"
# A part of a waveform is not valid JSON.
parameters = {{ "header.Range" = "bytes=0-" }}
"""
    # The route for any model answers the paths of single models, too.
    excluded = "^/(cleanup|process/(demucs|whisper|musicgen|analysis))/"
    report = ask_at_random(described, tmp_path, settings, "--exclude-path-regex", excluded)
    assert f"Tested: {len(NAMES) - 5}" in report
    assert "404 Not Found" not in report
    assert described.get("/health").status_code == 200
