"""A real Chromium opens the live test page, speaks into its microphone, and reads its words."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.transcription.engine import RATE_HZ
from studio.web.pages import SOCKETIO_CLIENT
from tests.browser import BINARY, Browser
from tests.hearing import silence
from tests.speech import MOST_WRONG, Spoken, spoken, write_speech, wrong
from tests.support import ROOT, Server, write_wav

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="Chromium is not installed; .ci/run installs it"),
    pytest.mark.skipif(not SOCKETIO_CLIENT.is_file(), reason="`make page` was not run"),
]
WIDTHS = [1200, 390]
STATE = "document.getElementById('state').innerText"
WORD_TITLES = "[...document.querySelectorAll('#text span')].map((word) => word.title)"
ERRORS = "document.getElementById('errors').innerText"
TRACKS = "streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"


@pytest.fixture(scope="module")
def recording() -> Spoken:
    return spoken()


@pytest.fixture(scope="module")
def microphone(recording: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser hears: the recording, a little silence before and after."""
    sound = np.concatenate([silence(1), recording.sound, silence(2)])
    return write_wav(tmp_path_factory.mktemp("sound") / "microphone.wav", sound[None], RATE_HZ)


@pytest.fixture
def browser(tmp_path: Path, microphone: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path, microphone)
    yield browser
    browser.close()


def connect(browser: Browser, server: Server) -> None:
    browser.open(f"{server.url}/websocket-test.html")
    browser.click("#connect")
    browser.wait(f"{STATE}.startsWith('Connected')")


def fits(browser: Browser) -> bool:
    """Nothing sticks out to the right."""
    return bool(browser.run("document.documentElement.scrollWidth <= innerWidth"))


def test_the_microphone_is_written_down(
    browser: Browser, live_server: Server, recording: Spoken, tmp_path: Path
) -> None:
    connect(browser, live_server)
    assert "mini" in browser.text("#state")
    browser.click("#microphone")
    browser.wait("document.querySelector('.interim, .final') !== null")
    browser.wait("document.getElementById('level').value > 0")
    assert (
        browser.run("document.getElementById('microphone').getAttribute('aria-pressed')") == "true"
    )
    for width in WIDTHS:
        browser.look(width, dark=False)
        assert fits(browser)
        browser.screenshot(tmp_path / f"speaking-{width}.png")
    last = recording.words[-1][2] + 2.5
    browser.wait(f"parseFloat(document.getElementById('sent').innerText) > {last}")
    browser.click("#finish")
    browser.wait(f"{STATE}.startsWith('Finished')")
    said = " ".join(browser.text("#text").split())
    # The browser cleans what its microphone hears, which costs a word or two.
    assert wrong(recording.text, said) <= 2 * MOST_WRONG
    assert browser.run("document.querySelectorAll('.interim').length") == 0
    assert browser.text("#errors") == ""
    titles = browser.run(WORD_TITLES)
    assert titles
    assert all(" s, " in title and title.endswith(" %") for title in titles)
    assert browser.run("asText()").split() == said.split()
    srt = browser.run("asSrt()")
    assert srt.startswith("1\n00:00:0")
    assert srt.count("-->") == browser.run("document.querySelectorAll('.final').length")


def test_a_file_is_streamed(
    browser: Browser, live_server: Server, recording: Spoken, tmp_path: Path
) -> None:
    """Twice on the same connection: the second text is added, its times go on."""
    connect(browser, live_server)
    for number in (1, 2):
        browser.choose_file("#file", write_speech(tmp_path / f"{number}.wav"))
        browser.wait(f"{STATE}.startsWith('Connected') || finals.length > 0")
        browser.wait("source !== null")
        browser.wait(f"source === null && {STATE}.startsWith('Finished')")
        browser.run("setState('Connected again', true)")
    said = " ".join(browser.text("#text").split())
    assert wrong(f"{recording.text} {recording.text}", said) <= MOST_WRONG
    starts = browser.run("finals.map((data) => data.start)")
    assert starts == sorted(starts)
    assert starts[-1] > 22
    titles = browser.run(WORD_TITLES)
    shown = [float(title.split()[0]) for title in titles]
    assert shown == sorted(shown)
    assert abs(shown[-1] - browser.run("finals.at(-1).end")) < 2


def test_words_are_joined_as_in_the_text(browser: Browser, live_server: Server) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    for texts, joined in (
        (["你好", "世界"], "你好世界"),
        (["Good", "day,", "you"], "Good day, you"),
    ):
        words = [
            {"text": text, "start": n, "end": n + 1, "probability": 1}
            for n, text in enumerate(texts)
        ]
        event = {"transcription": joined, "words": words, "start": 0, "end": 3}
        stable = joined[: joined.index(texts[1])].strip()
        browser.run(f"showTranscription({json.dumps({**event, 'stable': stable})})")
        assert browser.run("document.querySelector('.interim').textContent") == joined
        assert browser.run("document.querySelector('.interim .stable').textContent") == texts[0]
        assert browser.run("document.querySelectorAll('.interim .stable').length") == 1
        browser.run(f"showTranscription({json.dumps({**event, 'is_final': True})})")
        assert browser.run("[...document.querySelectorAll('.final')].at(-1).textContent") == joined


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


def test_stopping_the_microphone_ends_the_recording(browser: Browser, live_server: Server) -> None:
    connect(browser, live_server)
    browser.click("#microphone")
    browser.wait("document.querySelector('.interim') !== null")
    browser.click("#microphone")
    browser.wait(f"{STATE}.startsWith('Finished')")
    assert browser.run("document.querySelectorAll('.interim').length") == 0
    assert browser.run("document.querySelectorAll('.final').length") > 0
    assert browser.text("#microphone") == "Start microphone"


def test_the_microphone_takes_over_from_a_file(
    browser: Browser, live_server: Server, tmp_path: Path
) -> None:
    connect(browser, live_server)
    browser.choose_file("#file", write_speech(tmp_path / "speech.wav"))
    browser.wait("document.querySelector('.interim') !== null")
    browser.click("#microphone")
    browser.wait("source !== null && source.isMicrophone === true")
    assert browser.text("#microphone") == "Stop microphone"
    # The words of the file are final, and those of the microphone follow.
    browser.wait("document.querySelector('.final') !== null && beforeSeconds > 0")
    browser.wait("document.querySelector('.interim') !== null")


def test_what_the_server_cannot_take_yet_is_sent_again(
    browser: Browser, recording: Spoken, tmp_path: Path
) -> None:
    """A file comes much faster than it is decoded, and is longer than a session may be."""
    server = Server(tmp_path / "short", WHISPER_MODEL="mini", LIVE_LENGTH_S=10, LIVE_WAITING_S=5)
    server.folder.mkdir()
    server.start()
    try:
        connect(browser, server)
        browser.run("""void (() => {
            const now = performance.now.bind(performance);
            performance.now = () => 20 * now();
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
        assert wrong(recording.text, said) <= 2 * MOST_WRONG
        assert browser.text("#errors") == ""
    finally:
        server.stop()


def test_the_latest_lag_is_shown(browser: Browser, live_server: Server) -> None:
    connect(browser, live_server)
    for seconds, shown in ((3.5, "3.5 s"), (7.1, "7.1 s"), (4, "4.0 s"), (0, "no")):
        browser.run(f"socket.listeners('lagging').forEach((show) => show({{seconds: {seconds}}}))")
        assert browser.text("#lag") == shown


def test_what_is_no_sound_is_told(browser: Browser, live_server: Server, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("This is no sound.")
    connect(browser, live_server)
    browser.choose_file("#file", text)
    browser.wait(f"{ERRORS}.includes('letter.txt')")
    assert "cannot be played" in browser.text("#errors")
    assert browser.text("#state").startswith("Connected")


def test_errors_are_readable(browser: Browser, live_server: Server, tmp_path: Path) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    wanted = "document.getElementById('address').value = 'http://127.0.0.1:9'"
    browser.run(wanted)
    browser.click("#connect")
    browser.wait(f"{ERRORS}.includes('Cannot connect to http://127.0.0.1:9')")
    assert browser.text("#errors").endswith(". Is the address right?")
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
        others.forEach((one) => one.on('connected', () => { if (++open === 8) resolve(); }));
    })""")
    browser.click("#connect")
    browser.wait(f"{ERRORS}.includes('8 live sessions are open already')")
    assert "Is the address right" not in browser.text("#errors")
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
        browser.wait(f"{ERRORS}.includes('needs an API key')")
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
    question = ". Is the address right, and does the browser trust its certificate?"
    assert browser.text("#errors").endswith(f"websocket error{question}")


def test_all_of_the_file_button_can_be_clicked(browser: Browser, live_server: Server) -> None:
    connect(browser, live_server)
    for width in WIDTHS:
        browser.look(width, dark=False)
        hit = browser.run("""(() => {
            const box = document.getElementById('file-button').getBoundingClientRect();
            const across = [box.left + 3, box.left + box.width / 2, box.right - 3];
            const down = [box.top + 3, box.top + box.height / 2, box.bottom - 3];
            return across.flatMap((x) => down.map((y) => {
                const label = document.elementFromPoint(x, y).closest('label');
                return label !== null && label.control.id === 'file' && box.height >= 44;
            }));
        })()""")
        assert all(hit) and len(hit) == 9


def test_copying_is_told(browser: Browser, live_server: Server) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.call("Browser.grantPermissions", origin=live_server.url, **grant)
    browser.run(
        """showTranscription({transcription: 'Good day', is_final: true, start: 0, end: 1})"""
    )
    browser.call("Page.bringToFront")
    browser.click("#copy")
    browser.wait(f"{STATE} === 'Copied'")
    assert browser.run("navigator.clipboard.readText()") == "Good day\n"


def test_the_page_works_opened_as_a_file(browser: Browser) -> None:
    """Without a server of its own it asks for an address, and tells what it cannot load."""
    browser.open((ROOT / "websocket-test.html").as_uri())
    assert browser.run("document.getElementById('address').value").startswith("https://")
    assert browser.text("#state") == "Not connected"
    assert browser.text("#errors") == ""
    names = browser.run("[...document.querySelectorAll('button, input')].map((one) => one.id)")
    assert {"connect", "microphone", "file", "finish", "copy", "save-txt", "save-srt"} <= set(names)


def test_a_page_opened_as_a_file_speaks(
    browser: Browser, live_server: Server, tmp_path: Path
) -> None:
    """With the client from the CDN, whose place the copy of npm takes here."""
    client = SOCKETIO_CLIENT.read_bytes()
    known = base64.b64encode(hashlib.sha384(client).digest()).decode()
    text = (ROOT / "websocket-test.html").read_text("utf-8")
    page = tmp_path / "websocket-test.html"
    page.write_text(re.sub("sha384-[^']+", f"sha384-{known}", text), "utf-8")
    browser.open(page.as_uri())
    browser.run(f"document.getElementById('address').value = {json.dumps(live_server.url)}")
    browser.call("Fetch.enable", patterns=[{"urlPattern": "https://cdn.socket.io/*"}])
    browser.click("#connect")
    browser.answer_request(client, "text/javascript")
    browser.wait(f"{STATE}.startsWith('Connected')")
    browser.click("#microphone")
    browser.wait("document.querySelector('.interim, .final') !== null")
    assert browser.text("#errors") == ""


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


@pytest.mark.parametrize("dark", [False, True])
def test_the_idle_page_fits(
    browser: Browser, live_server: Server, tmp_path: Path, dark: bool
) -> None:
    browser.open(f"{live_server.url}/websocket-test.html")
    for width in WIDTHS:
        browser.look(width, dark)
        assert fits(browser)
        browser.screenshot(tmp_path / f"idle-{width}-{'dark' if dark else 'light'}.png")
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (int(colour.split("(")[1].split(",")[0]) < 100) == dark
