"""OpenAI's audio API, asked by the official JavaScript client."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy import Proxy
from tests.support.realtime import pieces
from tests.support.server import ROOT, Server
from tests.support.speech import MAX_WRONG_ELSEWHERE, RECORDING, Spoken, text, transcribed, wrong

SCRIPTS = ROOT / "tests" / "support" / "javascript"
PACKAGES = ("openai@7.57.0", "ws@8.23.0")
pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm is not installed; .ci/run installs it"
)


@pytest.fixture(scope="module")
def client_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*command, *PACKAGES], check=True, timeout=300)
    return folder


def answer_of(
    script: str, folder: Path, server: Server | Proxy, *files: Path, **environment: Any
) -> Any:
    done = subprocess.run(
        ["node", SCRIPTS / script, folder, server.url, "any key", *files],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_official_client(speaker: Server, client_folder: Path, tmp_path: Path) -> None:
    bad_file = tmp_path / "bad.wav"
    bad_file.write_text("no sound")
    found = answer_of("openai.js", client_folder, speaker, RECORDING, bad_file)
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


@pytest.mark.nginx
def test_the_official_realtime_client(
    proxy: Proxy, client_folder: Path, recording: Spoken, tmp_path: Path
) -> None:
    """Through the proxy, because this client connects by TLS only."""
    sound = tmp_path / "speech.pcm"
    sound.write_bytes(b"".join(map(base64.b64decode, pieces(recording.part(0, 2)))))
    trust = str(proxy.certificate)
    found = answer_of("openai_realtime.js", client_folder, proxy, sound, NODE_EXTRA_CA_CERTS=trust)
    true = " ".join(recording.sentences[:2])
    assert wrong(true, found["text"]) <= 2 * MAX_WRONG_ELSEWHERE
    assert "".join(found["deltas"]).strip()
