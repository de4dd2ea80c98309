"""OpenAI's audio API, asked by the official JavaScript client."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server
from tests.support.speech import RECORDING, text, transcribed

SCRIPT = ROOT / "tests" / "support" / "javascript" / "openai.js"
VERSION = "7.57.0"
pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm is not installed; .ci/run installs it"
)


def test_the_official_client(speaker: Server, tmp_path: Path) -> None:
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path)]
    subprocess.run([*command, f"openai@{VERSION}"], check=True, timeout=300)
    bad_file = tmp_path / "bad.wav"
    bad_file.write_text("no sound")
    done = subprocess.run(
        ["node", SCRIPT, tmp_path, speaker.url, "any key", RECORDING, bad_file],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["models"][0] == "whisper-1"
    assert "".join(found["deltas"]) == found["done"] == found["json"]["text"]
    assert found["json"]["usage"] == {"type": "duration", "seconds": 20}
    assert found["verbose"]["segments"] and found["verbose"]["words"]
    file_id = transcribed(speaker, RECORDING, temperature=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert found["srt"] == text(speaker, file_id, "srt")
    # The server has no keys.
    assert found["refusals"] == [
        None,
        ["NotFoundError", 404, "model_not_found"],
        ["BadRequestError", 400, "not_audio"],
        ["BadRequestError", 400, "invalid_option"],
    ]
