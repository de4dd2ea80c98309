"""A real Chromium opens the live test page, speaks into its microphone, and reads its words."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from studio.web.pages import SOCKETIO_CLIENT
from tests.support.browser import Browser
from tests.support.page import STATE, WIDTHS, connect, fits, stream_faster
from tests.support.server import ROOT, Server
from tests.support.speech import MAX_WRONG, Spoken, write_speech, wrong

pytestmark = pytest.mark.browser
WORD_TITLES = "[...document.querySelectorAll('#text span')].map((word) => word.title)"


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
    assert wrong(recording.text, said) <= 2 * MAX_WRONG
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
    stream_faster(browser, 5)
    for number in (1, 2):
        browser.choose_file("#file", write_speech(tmp_path / f"{number}.wav"))
        browser.wait(f"{STATE}.startsWith('Connected') || finals.length > 0")
        browser.wait("source !== null")
        browser.wait(f"source === null && {STATE}.startsWith('Finished')")
        browser.run("setState('Connected again', true)")
    said = " ".join(browser.text("#text").split())
    assert wrong(f"{recording.text} {recording.text}", said) <= MAX_WRONG
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


def test_the_latest_lag_is_shown(browser: Browser, live_server: Server) -> None:
    connect(browser, live_server)
    for seconds, shown in ((3.5, "3.5 s"), (7.1, "7.1 s"), (4, "4.0 s"), (0, "none")):
        browser.run(f"socket.listeners('lagging').forEach((show) => show({{seconds: {seconds}}}))")
        assert browser.text("#lag") == shown


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
