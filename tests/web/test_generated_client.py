"""A client generated from the OpenAPI document works against the server."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.services.programs import python_with
from tests.support.server import ROOT, Server

pytestmark = pytest.mark.slow
GENERATOR = "openapi-python-client"
USE = ROOT / "tests" / "support" / "generated_use.py"


def run(arguments: list[str]) -> str:
    """The output of a Python that has the generator."""
    command = [*python_with(GENERATOR), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def used(
    server: Server, short_wav: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the generated client got of the server."""
    folder = tmp_path_factory.mktemp("generated")
    document = folder / "openapi.json"
    document.write_text(server.get("/openapi.json").text, "utf-8")
    command = ["-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    command += ["--path", str(document), "--output-path", str(folder / "studio_client")]
    told = run(command)
    assert "arning" not in told
    output = run([str(USE), str(folder), server.url, str(short_wav)])
    return dict(json.loads(output))


def test_it_uploads_and_starts_a_job(used: dict[str, Any]) -> None:
    assert used["filename"] == "short.wav"
    assert used["stems"] == ["vocals"]
    assert used["tracks"] == ["vocals", "no_vocals", "instrumental"]
    finished_at = datetime.fromisoformat(used["finished_at"])
    assert abs((datetime.now(UTC) - finished_at).total_seconds()) < 3600


def test_it_downloads_bytes(used: dict[str, Any]) -> None:
    assert used["track_begins"] == "fLaC"
    assert used["mix_begins"] == "OggS"
    assert used["archive_begins"] == "PK"
    assert used["formats"]["flac"]["ready"]


def test_it_gets_typed_errors(used: dict[str, Any]) -> None:
    assert used["wrong"] == "unknown_stem"


def test_it_deletes_the_file(used: dict[str, Any]) -> None:
    assert used["deleted"]
