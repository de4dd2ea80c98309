"""Live transcription over TLS: the official Python client, and a real Chromium."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import chromium, new_context, until
from tests.support.live_client import Client, pcm
from tests.support.page import ERRORS, FINISHED, NEEDS_CLIENT, STATE, heard, said
from tests.support.proxy import Proxy
from tests.support.server import ROOT
from tests.support.speech import MAX_WRONG_ELSEWHERE, MAX_WRONG_HEARD, Spoken, wrong

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


@pytest.fixture(scope="module", name="chromium")
def _chromium(microphone: Path) -> Iterator[Browser]:
    """One that takes any certificate."""
    with chromium(microphone, f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        yield browser


@pytest.mark.browser
@pytest.mark.slow
def test_chromium_speaks_over_tls(chromium: Browser, proxy: Proxy, recording: Spoken) -> None:
    sound, text = heard(recording)
    with new_context(chromium, ignore_https_errors=True) as context:
        page = context.new_page()
        connect(page, proxy)
        page.click("#microphone")
        until(page, f"parseFloat(document.getElementById('sent').innerText) > {len(sound) / 16000}")
        page.click("#finish")
        expect(page.locator(STATE)).to_contain_text(FINISHED)
        assert wrong(text, said(page)) <= MAX_WRONG_HEARD
        expect(page.locator(ERRORS)).to_be_empty()


def connect(page: Page, proxy: Proxy) -> None:
    page.goto(f"https://{HOST}:{proxy.port}/websocket-test.html")
    page.click("#connect")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))


@pytest.mark.browser
def test_the_page_uses_tls_alone(chromium: Browser, proxy: Proxy) -> None:
    with new_context(chromium, ignore_https_errors=True) as context:
        page = context.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        connect(page, proxy)
        assert page.evaluate("socket.io.engine.transport.name") == "websocket"
        address = page.evaluate("socket.io.engine.transport.ws.url")
        assert address.startswith(f"wss://{HOST}:")
        expect(page.locator(ERRORS)).to_be_empty()
        loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
        assert loaded and all(name.startswith("https:") for name in loaded)
        assert not mixed_content(told)
        # This browser blocks insecure connections and reports them.
        insecure = f"try {{ new WebSocket('ws://{HOST}:9') }} catch (error) {{ return error.name }}"
        assert page.evaluate(f"() => {{ {insecure} }}") == "SecurityError"
        assert mixed_content(told)


def mixed_content(told: list[str]) -> list[str]:
    return [text for text in told if "Mixed Content" in text]
