"""The official JavaScript client runs the contract of docs/protocol.md against gunicorn."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_client import pcm
from tests.support.server import ROOT, Server
from tests.support.speech import Spoken

SCRIPTS = ROOT / "tests" / "support" / "javascript"
# The version of the document's example, and the newest.
VERSIONS = ["4.7.2", "4.8.4"]
pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm is not installed; .ci/run installs it"
)


@pytest.fixture(
    scope="session", params=[pytest.param(VERSIONS[0], marks=pytest.mark.slow), VERSIONS[1]]
)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one version of `socket.io-client`, fetched once for all tests."""
    return install(request.param, tmp_path_factory.mktemp(f"client-{request.param}"))


@pytest.fixture(scope="module")
def speech(recording: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two sentences as 16-bit samples."""
    path = tmp_path_factory.mktemp("speech") / "speech.pcm"
    path.write_bytes(pcm(recording.part(0, 2)))
    return path


def install(version: str, folder: Path) -> Path:
    """Fetch a version of `socket.io-client` into a folder."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*command, f"socket.io-client@{version}"], check=True, timeout=300)
    return folder


def run(script: str, *arguments: object) -> dict[str, Any]:
    command = ["node", str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_page_keeps_what_the_server_has_not_decoded() -> None:
    """The server has accepted a minute and decoded 25 s when the connection drops."""
    queue = (ROOT / "studio/web/static/js/data/send_queue.js").read_text("utf-8")
    script = """
    const queue = new SendQueue();
    for (let startS = 0; startS < 60; startS += 1) {
      queue.add({ pcm: new Int16Array(16), rateHz: 16, startS });
      queue.accept(1, Math.min(startS + 1, 25));
    }
    queue.restore();
    const kept = queue.seconds;
    queue.accept(60, 55);
    queue.restore();
    console.log(JSON.stringify([kept, queue.seconds]));
    """
    command = ["node", "--input-type=module", "--eval", queue + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [60, 35]


@pytest.mark.slow
def test_the_page_knows_the_client_of_the_cdn(tmp_path: Path) -> None:
    """Its hash is that of the same version on npm, which can fall back to polling."""
    page = (ROOT / "websocket-test.html").read_text("utf-8")
    [version] = re.findall(r"https://cdn\.socket\.io/([\d.]+)/socket\.io\.min\.js", page)
    folder = install(version, tmp_path)
    client = (folder / "node_modules/socket.io-client/dist/socket.io.min.js").read_bytes()
    digest = base64.b64encode(hashlib.sha384(client).digest()).decode()
    assert f"'sha384-{digest}'" in page
    assert b"tryAllTransports" in client


@pytest.mark.parametrize(
    "transport", ["websocket", pytest.param("polling", marks=pytest.mark.slow)]
)
def test_the_official_client_runs_the_contract(
    client: Path, live_server: Server, transport: str, speech: Path
) -> None:
    found = run("contract.js", client, live_server.url, transport, speech)
    events = found["events"]
    names = [name for name, _ in events]
    assert found["transport"] == transport
    assert found["ack"]["received_s"] == 0.25
    assert names.count("connect") == 1, "the greeting does not end the connection"
    assert "disconnect" not in names
    assert {"connect", "connected"} == set(names[:2])
    assert dict(events[:2])["connected"]["message"] == "Connected to transcription service"
    errors = [data["code"] for name, data in events if name == "error"]
    assert errors == ["bad_audio"]
    assert names.index("error") < names.index("finished")
    seconds = round(speech.stat().st_size / 32_000, 3)
    summaries = [data for name, data in events if name == "finished"]
    assert [summary["audio_s"] for summary in summaries] == [pytest.approx(seconds, abs=0.001)] * 2
    assert names.index("configured") > names.index("finished")
    first, second = (
        [data for name, data in part if name == "transcription"]
        for part in (events[: names.index("finished")], events[names.index("finished") :])
    )
    for summary, texts in zip(summaries, (first, second), strict=True):
        finals = [data for data in texts if data["is_final"]]
        assert summary["text"] == " ".join(d["transcription"] for d in finals if d["transcription"])
        assert [data["segment"] for data in finals] == list(range(summary["segments"]))
    assert all("words" in data for data in first)
    assert all("words" not in data for data in second)


def test_the_sample_of_the_document_works_as_it_is(
    client: Path, live_server: Server, speech: Path, tmp_path: Path
) -> None:
    document = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    sample = re.search(r"```js\n(.*?)```", document, re.S)
    assert sample
    path = tmp_path / "sample.js"
    path.write_text(sample[1])
    found = run("sample.js", client, live_server.url, speech, path)
    finals = [text for text, is_final in found["shown"] if is_final and text]
    assert found["finished"]["text"] == " ".join(finals)
    assert found["finished"]["audio_s"] == pytest.approx(speech.stat().st_size / 32_000, abs=0.001)
