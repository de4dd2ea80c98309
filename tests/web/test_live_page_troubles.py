"""The live test page in trouble: it says what is wrong, loses no words, and can be used again."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.transcription.engine import RATE_HZ
from tests.support.browser import DESKTOP, NO_WEBSOCKETS, PHONE, fits, until
from tests.support.keys import SECRET
from tests.support.page import (
    ERRORS,
    FINISHED,
    STATE,
    TEXT,
    connect,
    open_page,
    said,
    stream_faster,
)
from tests.support.server import LAUNCHER, ROOT, Server
from tests.support.sounds import write_wav
from tests.support.speech import MAX_WRONG, Spoken, write_speech, wrong

pytestmark = pytest.mark.browser
INTERIM = f"{TEXT} .interim"
# Closes the connection while an interim text is shown, and keeps what is on the page then.
CLOSE = """() => {
  window.atClose = null;
  const looking = setInterval(() => {
    if (!interim?.transcription) return;
    clearInterval(looking);
    const shown = interim.transcription;
    socket.once("disconnect", () => {
      atClose = { shown, lines: el("text").innerText.split("\\n"), saved: asText(), interim };
    });
    socket.io.engine.close();
  }, 20);
}"""
TRACKS = "streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"


def test_what_is_no_sound_is_told(page: Page, live_server: Server, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("This is no sound.")
    connect(page, live_server)
    page.set_input_files("#file", text)
    expect(page.locator(ERRORS)).to_contain_text("letter.txt")
    assert "cannot decode" in page.inner_text("#errors")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))


def test_errors_are_readable(page: Page, live_server: Server) -> None:
    open_page(page, live_server)
    page.fill("#address", "http://127.0.0.1:9")
    page.click("#connect")
    expect(page.locator(ERRORS)).to_contain_text("Cannot connect to http://127.0.0.1:9")
    assert page.inner_text("#errors").endswith(". Check the address.")
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        assert fits(page)
    page.click("#connect")
    expect(page.locator("#connect")).to_have_text("Connect")
    page.fill("#address", live_server.url)
    page.click("#connect")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))
    expect(page.locator("#errors")).to_be_empty()
    page.evaluate("void socket.emit('audio', {payload: {data: '*'}})")
    expect(page.locator(ERRORS)).to_contain_text("base64")
    assert "(bad_audio)" in page.inner_text("#errors")


@pytest.mark.slow
def test_a_refusal_is_told_and_can_be_tried_again(page: Page, live_server: Server) -> None:
    open_page(page, live_server)
    page.evaluate("loadClient()")
    page.evaluate("""new Promise((resolve) => {
        window.others = [...Array(8)].map(() => io('/transcribe', {forceNew: true}));
        let open = 0;
        others.forEach((one) => {
            one.on('connected', () => { if (++open === 8) resolve(); });
            one.on('connect_error', () => setTimeout(() => one.connect(), 100));
        });
    })""")
    page.click("#connect")
    expect(page.locator(ERRORS)).to_contain_text("8 live sessions are open")
    assert "Check the address" not in page.inner_text("#errors")
    expect(page.locator("#connect")).to_have_text("Connect")
    assert page.evaluate("document.getElementById('microphone').disabled")
    page.evaluate("others.forEach((one) => one.disconnect())")
    page.click("#connect")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))


@pytest.mark.slow
def test_polling_is_enough(page: Page, live_server: Server) -> None:
    page.add_init_script(NO_WEBSOCKETS)
    connect(page, live_server)
    assert page.evaluate("socket.io.engine.transport.name") == "polling"


def test_an_untrusted_certificate_is_asked_about(page: Page) -> None:
    page.goto((ROOT / "websocket-test.html").as_uri())
    page.evaluate("""() => {
        window.handlers = {};
        const on = (name, handle) => { handlers[name] = handle; };
        window.io = () => ({on, io: {on}, active: true, disconnect() {}});
    }""")
    page.evaluate("connect()")
    page.evaluate("handlers.connect_error(new Error('websocket error'))")
    advice = ". Check the address and whether the browser trusts the certificate."
    assert page.inner_text("#errors").endswith(f"websocket error{advice}")


def test_words_survive_a_lost_connection(page: Page, live_server: Server, tmp_path: Path) -> None:
    connect(page, live_server)
    page.set_input_files("#file", write_speech(tmp_path / "speech.wav"))
    page.evaluate(CLOSE)
    until(page, "atClose !== null")
    kept = page.evaluate("atClose")
    assert kept["interim"] is None
    assert kept["lines"][-1] == f"{kept['shown']} (connection lost)"
    assert kept["saved"].endswith(f"{kept['shown']} (connection lost)\n")
    # What was not answered goes over the next connection, and is finished there.
    expect(page.locator(STATE)).to_contain_text(FINISHED)
    until(page, "socket.connected && queue.length === 0")
    expect(page.locator("#microphone")).to_have_text("Start microphone")
    assert not page.evaluate("document.getElementById('microphone').disabled")


@pytest.mark.slow
def test_words_survive_a_restart_of_the_server(page: Page, tmp_path: Path) -> None:
    server = Server(tmp_path, WHISPER_MODEL="mini", SECRET_KEY=SECRET)
    server.start(command=LAUNCHER)
    try:
        connect(page, server)
        page.set_input_files("#file", write_speech(tmp_path / "speech.wav"))
        until(page, "interim !== null")
        server.stop()
        expect(page.locator(STATE)).to_contain_text(re.compile("retrying|reconnecting"))
        server.start(command=LAUNCHER)
        expect(page.locator(STATE)).to_contain_text(FINISHED)
        until(page, "socket.connected && queue.length === 0")
        expect(page.locator("#errors")).to_be_empty()
        assert "(connection lost)" in page.evaluate("asText()")
    finally:
        page.goto("about:blank")
        server.stop()


@pytest.mark.slow
def test_what_the_server_cannot_take_yet_is_sent_again(
    page: Page, recording: Spoken, tmp_path: Path
) -> None:
    """A file comes much faster than it is decoded, and is longer than a session may be."""
    sound = recording.part(0, 5)
    server = Server(tmp_path / "short", WHISPER_MODEL="mini", LIVE_LENGTH_S=10, LIVE_WAITING_S=5)
    server.folder.mkdir()
    server.start()
    try:
        connect(page, server)
        stream_faster(page, 20)
        page.evaluate("""() => {
            window.refused = new Set();
            socket.on('error', (data) => refused.add(data.code));
            window.sessions = [];
            socket.on('finished', (data) => sessions.push(data.audio_s));
        }""")
        page.set_input_files("#file", write_wav(tmp_path / "speech.wav", sound[None], RATE_HZ))
        expect(page.locator(STATE)).to_contain_text(FINISHED)
        assert page.evaluate("[...refused].sort()") == ["session_too_long", "too_far_behind"]
        lengths = page.evaluate("sessions")
        assert len(lengths) == 2 and max(lengths) <= 10
        assert sum(lengths) == pytest.approx(len(sound) / RATE_HZ, abs=0.01)
        # The first session ends within a word.
        assert wrong(" ".join(recording.sentences[:5]), said(page)) <= 3 * MAX_WRONG
        expect(page.locator("#errors")).to_be_empty()
    finally:
        # The server waits for its connections before it stops.
        page.goto("about:blank")
        server.stop()


def test_a_microphone_that_cannot_be_used_is_let_go(page: Page, live_server: Server) -> None:
    connect(page, live_server)
    keep_streams(page)
    page.evaluate(
        """() => {
        AudioWorklet.prototype.addModule = () => Promise.reject(new Error('No module.'));
    }"""
    )
    page.click("#microphone")
    expect(page.locator(ERRORS)).to_have_text("The microphone cannot be used: No module.")
    assert page.evaluate(TRACKS) == ["ended"]
    expect(page.locator("#microphone")).to_have_text("Start microphone")


def test_a_microphone_granted_after_the_end_is_let_go(page: Page, live_server: Server) -> None:
    connect(page, live_server)
    keep_streams(page)
    page.evaluate("() => void (grant = new Promise((resolve) => { granted = resolve; }))")
    page.click("#microphone")
    page.click("#connect")
    expect(page.locator("#state")).to_have_text("Not connected")
    page.evaluate("granted()")
    until(page, f"{TRACKS}.length === 1 && {TRACKS}[0] === 'ended'")
    assert page.evaluate("source") is None
    expect(page.locator("#microphone")).to_have_text("Start microphone")


def keep_streams(page: Page) -> None:
    """What the page gets from the microphone is kept in `streams`, and waits for `grant`."""
    page.evaluate("""() => {
        window.streams = [];
        window.grant = null;
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await ask(wanted);
            await grant;
            streams.push(stream);
            return stream;
        };
    }""")
