"""Live transcription over TLS: the official Python client, and a real Chromium."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.live_client import Client, pcm
from tests.support.page import NEEDS_CLIENT, STATE
from tests.support.proxy import Proxy
from tests.support.server import ROOT
from tests.support.speech import MAX_WRONG, MAX_WRONG_ELSEWHERE, Spoken, wrong

pytestmark = pytest.mark.nginx

# A name that no browser takes for the machine itself, to which it would be lenient.
HOST = "studio.test"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_the_official_client_is_understood(proxy: Proxy, recording: Spoken, transport: str) -> None:
    with Client(proxy, transport, proxy.certificate) as client:
        assert client.greeting()["message"] == "Connected to transcription service"
        client.say(recording.part(0, 2))
        events = client.finish()
    assert events[-1][0] == "finished"
    true = " ".join(recording.sentences[:2])
    assert wrong(true, events[-1][1]["text"]) <= MAX_WRONG_ELSEWHERE


@NEEDS_CLIENT
def test_the_calls_of_the_users_document_work(
    proxy: Proxy, recording: Spoken, tmp_path: Path
) -> None:
    speech = tmp_path / "speech.pcm"
    speech.write_bytes(pcm(recording.part(0, 2)))
    script = ROOT / "tests" / "support" / "javascript" / "secure.js"
    done = subprocess.run(
        ["node", str(script), str(ROOT), proxy.url, str(speech)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["connects"] == 1
    assert told["texts"][-1]
    true = " ".join(recording.sentences[:2])
    assert wrong(true, told["finished"]["text"]) <= MAX_WRONG_ELSEWHERE


@pytest.fixture
def page(proxy: Proxy, microphone: Path, tmp_path: Path) -> Iterator[Browser]:
    """The test page, opened over https under a name of its own."""
    options = ["--ignore-certificate-errors", f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
    found = Browser(tmp_path, microphone, *options)
    found.call("Log.enable")
    found.open(f"https://{HOST}:{proxy.port}/websocket-test.html")
    yield found
    found.close()


@pytest.mark.browser
def test_chromium_speaks_over_tls(page: Browser, recording: Spoken) -> None:
    page.click("#connect")
    page.wait(f"{STATE}.startsWith('Connected')")
    assert page.run("socket.io.engine.transport.name") == "websocket"
    assert page.run("socket.io.engine.transport.ws.url").startswith(f"wss://{HOST}:")
    page.click("#microphone")
    page.wait("document.querySelector('.interim, .final') !== null")
    page.wait(f"parseFloat(document.getElementById('sent').innerText) > {recording.words[-1][2]}")
    page.click("#finish")
    page.wait(f"{STATE}.startsWith('Finished')")
    said = " ".join(page.text("#text").split())
    assert wrong(recording.text, said) <= 2 * MAX_WRONG
    assert page.text("#errors") == ""
    loaded = page.run("performance.getEntriesByType('resource').map((one) => one.name)")
    assert loaded and all(name.startswith("https:") for name in loaded)
    assert not mixed_content(page)
    # The same browser refuses, and tells of, what is not secure.
    insecure = f"try {{ new WebSocket('ws://{HOST}:9') }} catch (error) {{ return error.name }}"
    refused = page.run(f"(() => {{ {insecure} }})()")
    assert refused == "SecurityError"
    assert mixed_content(page)


def mixed_content(page: Browser) -> list[str]:
    page.run("1")
    return [
        event["params"]["entry"]["text"]
        for event in page.events
        if event["method"] == "Log.entryAdded"
        and "Mixed Content" in event["params"]["entry"]["text"]
    ]
