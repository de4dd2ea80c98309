"""The official JavaScript client runs the contract of docs/protocol.md against gunicorn."""

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from studio.transcription.line_breaks import columns
from tests.support.live_client import pcm
from tests.support.server import ROOT, Server
from tests.support.speech import Spoken
from tests.support.subtitles import read_srt

DATA = ROOT / "studio" / "web" / "static" / "js" / "data"
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
    queue = (DATA / "send_queue.js").read_text("utf-8")
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


def subtitles(folder: Path, lines: list[dict[str, Any]], file_format: str) -> str:
    """What the page saves of final lines."""
    shutil.copytree(DATA, folder / "data", dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "lines.json").write_text(json.dumps(lines))
    script = f"""
    import {{ readFileSync }} from "node:fs";
    import {{ subtitlesOf }} from "./data/live_subtitles.js";
    const lines = JSON.parse(readFileSync("lines.json", "utf-8"));
    process.stdout.write(subtitlesOf(lines, "{file_format}"));
    """
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_page_saves_subtitles_that_can_be_read(tmp_path: Path) -> None:
    """A long utterance with a pause in it, and one in Chinese whose words have no times."""
    times = [*(number / 2 for number in range(36)), *(20 + number / 2 for number in range(4))]
    spoken = [
        {"text": f"number{n}", "start": at_s, "end": at_s + 0.4, "probability": 1.0}
        for n, at_s in enumerate(times)
    ]
    text = " ".join(str(word["text"]) for word in spoken)
    chinese = "今天天气很好我们去公园" * 6
    lines = [
        {"text": text, "startS": 0.0, "endS": 21.9, "words": spoken, "stable": 0},
        {"text": chinese, "startS": 30.0, "endS": 40.0, "words": [], "stable": 0},
    ]
    cues = read_srt(subtitles(tmp_path, lines, "srt"))
    for start_s, end_s, rows in cues:
        assert end_s - start_s <= 7
        assert len(rows) <= 2
        assert all(columns(row) <= 42 for row in rows)
    for (_, end_s, _), (start_s, _, _) in itertools.pairwise(cues):
        assert end_s <= start_s
    # After the pause.
    assert 20.0 in [start_s for start_s, _, _ in cues]
    assert " ".join(row for start_s, _, rows in cues if start_s < 30 for row in rows) == text
    assert "".join(row for start_s, _, rows in cues if start_s >= 30 for row in rows) == chinese


def test_the_page_escapes_text_in_vtt(tmp_path: Path) -> None:
    line = {"text": "a < b & c --> d", "startS": 1.0, "endS": 2.0, "words": [], "stable": 0}
    assert subtitles(tmp_path, [line], "vtt") == (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\na &lt; b &amp; c --&gt; d\n"
    )


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
