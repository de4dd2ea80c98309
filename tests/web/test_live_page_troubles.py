"""The live test page in trouble: it says what is wrong, loses no words, and can be used again."""

import json
from pathlib import Path

import pytest

from studio.transcription.engine import RATE_HZ
from tests.support.browser import Browser
from tests.support.page import ERRORS, STATE, WIDTHS, connect, fits, stream_faster
from tests.support.server import ROOT, Server
from tests.support.speech import MAX_WRONG, Spoken, write_speech, wrong

pytestmark = pytest.mark.browser
TRACKS = "streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"


def test_what_is_no_sound_is_told(browser: Browser, live_server: Server, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("This is no sound.")
    connect(browser, live_server)
    browser.choose_file("#file", text)
    browser.wait(f"{ERRORS}.includes('letter.txt')")
    assert "cannot decode" in browser.text("#errors")
    assert browser.text("#state").startswith("Connected")


def test_errors_are_readable(browser: Browser, live_server: Server, tmp_path: Path) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    wanted = "document.getElementById('address').value = 'http://127.0.0.1:9'"
    browser.run(wanted)
    browser.click("#connect")
    browser.wait(f"{ERRORS}.includes('Cannot connect to http://127.0.0.1:9')")
    assert browser.text("#errors").endswith(". Check the address.")
    for width in WIDTHS:
        browser.look(width, dark=True)
        assert fits(browser)
        browser.screenshot(tmp_path / f"error-{width}.png")
    browser.click("#connect")
    assert browser.text("#connect") == "Connect"
    browser.run(f"document.getElementById('address').value = {json.dumps(live_server.url)}")
    browser.click("#connect")
    browser.wait(f"{STATE}.startsWith('Connected')")
    assert browser.text("#errors") == ""
    browser.run("void socket.emit('audio', {payload: {data: '*'}})")
    browser.wait(f"{ERRORS}.includes('base64')")
    assert "(bad_audio)" in browser.text("#errors")


def test_a_refusal_is_told_and_can_be_tried_again(browser: Browser, live_server: Server) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    browser.run("loadClient()")
    browser.run("""new Promise((resolve) => {
        window.others = [...Array(8)].map(() => io('/transcribe', {forceNew: true}));
        let open = 0;
        others.forEach((one) => {
            one.on('connected', () => { if (++open === 8) resolve(); });
            one.on('connect_error', () => setTimeout(() => one.connect(), 100));
        });
    })""")
    browser.click("#connect")
    browser.wait(f"{ERRORS}.includes('8 live sessions are open')")
    assert "Check the address" not in browser.text("#errors")
    assert browser.text("#connect") == "Connect"
    assert browser.run("document.getElementById('microphone').disabled")
    browser.run("others.forEach((one) => one.disconnect())")
    browser.click("#connect")
    browser.wait(f"{STATE}.startsWith('Connected')")


def test_the_key_is_asked_for_and_sent(browser: Browser, tmp_path: Path) -> None:
    key = "0123456789abcdef-key"
    server = Server(tmp_path / "locked", WHISPER_MODEL="mini", API_KEYS=key)
    server.folder.mkdir()
    server.start()
    try:
        browser.open(f"{server.url}/websocket-test.html")
        browser.click("#connect")
        browser.wait(f"{ERRORS}.includes('requires an API key')")
        assert browser.text("#connect") == "Connect"
        browser.run(f"document.getElementById('key').value = {json.dumps(key)}")
        browser.click("#connect")
        browser.wait(f"{STATE}.startsWith('Connected')")
        assert browser.text("#errors") == ""
    finally:
        server.stop()


def test_an_untrusted_certificate_is_asked_about(browser: Browser) -> None:
    browser.open((ROOT / "websocket-test.html").as_uri())
    browser.run("""void (() => {
        window.handlers = {};
        const on = (name, handle) => { handlers[name] = handle; };
        window.io = () => ({on, io: {on}, active: true, disconnect() {}});
    })()""")
    browser.run("connect()")
    browser.run("handlers.connect_error(new Error('websocket error'))")
    advice = ". Check the address and whether the browser trusts the certificate."
    assert browser.text("#errors").endswith(f"websocket error{advice}")


def test_words_survive_a_lost_connection(
    browser: Browser, live_server: Server, tmp_path: Path
) -> None:
    connect(browser, live_server)
    browser.choose_file("#file", write_speech(tmp_path / "speech.wav"))
    browser.wait("document.querySelector('.interim') !== null")
    shown = browser.run(
        "(() => { const text = interim.transcription; socket.io.engine.close(); return text; })()"
    )
    browser.wait("document.querySelector('.interim') === null")
    assert browser.text("#text").split("\n")[-1] == f"{shown} (connection lost)"
    assert browser.run("asText()").endswith(f"{shown} (connection lost)\n")
    # What was not answered goes over the next connection, and is finished there.
    browser.wait(f"{STATE}.startsWith('Finished') && socket.connected && queue.length === 0")
    assert browser.text("#microphone") == "Start microphone"
    assert not browser.run("document.getElementById('microphone').disabled")


def test_what_the_server_cannot_take_yet_is_sent_again(
    browser: Browser, recording: Spoken, tmp_path: Path
) -> None:
    """A file comes much faster than it is decoded, and is longer than a session may be."""
    server = Server(tmp_path / "short", WHISPER_MODEL="mini", LIVE_LENGTH_S=10, LIVE_WAITING_S=5)
    server.folder.mkdir()
    server.start()
    try:
        connect(browser, server)
        stream_faster(browser, 20)
        browser.run("""void (() => {
            window.refused = new Set();
            socket.on('error', (data) => refused.add(data.code));
            window.sessions = [];
            socket.on('finished', (data) => sessions.push(data.audio_s));
        })()""")
        browser.choose_file("#file", write_speech(tmp_path / "speech.wav"))
        browser.wait(f"{STATE}.startsWith('Finished')")
        assert browser.run("[...refused].sort()") == ["session_too_long", "too_far_behind"]
        lengths = browser.run("sessions")
        assert len(lengths) == 3 and max(lengths) <= 10
        # The pause after the speech is 6 s long.
        assert sum(lengths) == pytest.approx(len(recording.sound) / RATE_HZ + 6, abs=0.01)
        said = " ".join(browser.text("#text").split())
        # Each session ends within a word.
        assert wrong(recording.text, said) <= 2 * MAX_WRONG
        assert browser.text("#errors") == ""
    finally:
        server.stop()


def test_a_microphone_that_cannot_be_used_is_let_go(browser: Browser, live_server: Server) -> None:
    connect(browser, live_server)
    keep_streams(browser)
    browser.run("AudioWorklet.prototype.addModule = () => Promise.reject(new Error('No module.'))")
    browser.click("#microphone")
    browser.wait(f"{ERRORS} === 'The microphone cannot be used: No module.'")
    assert browser.run(TRACKS) == ["ended"]
    assert browser.text("#microphone") == "Start microphone"


def test_a_microphone_granted_after_the_end_is_let_go(
    browser: Browser, live_server: Server
) -> None:
    connect(browser, live_server)
    keep_streams(browser)
    browser.run("void (grant = new Promise((resolve) => { granted = resolve; }))")
    browser.click("#microphone")
    browser.click("#connect")
    assert browser.text("#state") == "Not connected"
    browser.run("granted()")
    browser.wait(f"{TRACKS}.length === 1 && {TRACKS}[0] === 'ended'")
    assert browser.run("source") is None
    assert browser.text("#microphone") == "Start microphone"


def keep_streams(browser: Browser) -> None:
    """What the page gets from the microphone is kept in `streams`, and waits for `grant`."""
    browser.run("""void (() => {
        window.streams = [];
        window.grant = null;
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await ask(wanted);
            await grant;
            streams.push(stream);
            return stream;
        };
    })()""")
