"""A real Chromium opens the live test page, speaks into its microphone, and reads its words."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.transcription.engine import RATE_HZ
from studio.web.pages import SOCKETIO_CLIENT
from tests.support.browser import DESKTOP, PHONE, assert_usable, fits, new_context, until
from tests.support.page import (
    ERRORS,
    FINISHED,
    STATE,
    TEXT,
    connect,
    heard,
    open_page,
    said,
    stream_faster,
)
from tests.support.server import ROOT, Server
from tests.support.sounds import write_wav
from tests.support.speech import MAX_WRONG_ELSEWHERE, MAX_WRONG_HEARD, Spoken, write_speech, wrong

pytestmark = pytest.mark.browser
FINAL, INTERIM = f"{TEXT} .final", f"{TEXT} .interim"
WORD_TITLES = "[...document.querySelectorAll('#text span')].map((word) => word.title)"


def test_the_microphone_is_written_down(page: Page, live_server: Server, recording: Spoken) -> None:
    sound, text = heard(recording)
    connect(page, live_server)
    expect(page.locator(STATE)).to_contain_text("mini")
    page.click("#microphone")
    expect(page.locator(f"{INTERIM}, {FINAL}").first).to_be_visible()
    until(page, "document.getElementById('level').value > 0")
    expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "true")
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        assert fits(page)
    until(page, f"parseFloat(document.getElementById('sent').innerText) > {len(sound) / RATE_HZ}")
    page.click("#finish")
    expect(page.locator(STATE)).to_contain_text(FINISHED)
    assert wrong(text, said(page)) <= MAX_WRONG_HEARD
    expect(page.locator(INTERIM)).to_have_count(0)
    expect(page.locator(ERRORS)).to_be_empty()
    titles = page.evaluate(WORD_TITLES)
    assert titles
    assert all(" s, " in title and title.endswith(" %") for title in titles)
    assert page.evaluate("asText()").split() == said(page).split()
    srt = page.evaluate("asSrt()")
    assert srt.startswith("1\n00:00:0")
    assert srt.count("-->") == page.locator(FINAL).count()


@pytest.mark.slow
def test_a_file_is_streamed(
    page: Page, live_server: Server, recording: Spoken, tmp_path: Path
) -> None:
    """Twice on the same connection: the second text is added, its times go on."""
    sound, text = heard(recording)
    path = write_wav(tmp_path / "speech.wav", sound[None], RATE_HZ)
    connect(page, live_server)
    stream_faster(page, 5)
    for _ in range(2):
        page.set_input_files("#file", path)
        expect(page.locator(STATE)).to_contain_text(FINISHED)
        page.evaluate("setState('Connected again', true)")
    assert wrong(f"{text} {text}", said(page)) <= 2 * MAX_WRONG_ELSEWHERE
    starts = page.evaluate("finals.map((data) => data.start)")
    assert starts == sorted(starts)
    assert starts[-1] > len(sound) / RATE_HZ
    titles = page.evaluate(WORD_TITLES)
    shown = [float(title.split()[0]) for title in titles]
    assert shown == sorted(shown)
    assert abs(shown[-1] - page.evaluate("finals.at(-1).end")) < 2


def test_words_are_joined_as_in_the_text(page: Page, live_server: Server) -> None:
    open_page(page, live_server)
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
        page.evaluate("(event) => showTranscription(event)", {**event, "stable": stable})
        expect(page.locator(INTERIM)).to_have_text(joined)
        expect(page.locator(f"{INTERIM} .stable")).to_have_text([texts[0]])
        page.evaluate("(event) => showTranscription(event)", {**event, "is_final": True})
        expect(page.locator(FINAL).last).to_have_text(joined)


@pytest.mark.slow
def test_stopping_the_microphone_ends_the_recording(page: Page, live_server: Server) -> None:
    connect(page, live_server)
    page.click("#microphone")
    expect(page.locator(INTERIM)).to_be_visible()
    page.click("#microphone")
    expect(page.locator(STATE)).to_contain_text(FINISHED)
    expect(page.locator(INTERIM)).to_have_count(0)
    assert page.locator(FINAL).count() > 0
    expect(page.locator("#microphone")).to_have_text("Start microphone")


@pytest.mark.slow
def test_the_microphone_takes_over_from_a_file(
    page: Page, live_server: Server, tmp_path: Path
) -> None:
    connect(page, live_server)
    page.set_input_files("#file", write_speech(tmp_path / "speech.wav"))
    expect(page.locator(INTERIM)).to_be_visible()
    page.click("#microphone")
    until(page, "source !== null && source.isMicrophone === true")
    expect(page.locator("#microphone")).to_have_text("Stop microphone")
    # The words of the file are final, and those of the microphone follow.
    until(page, "document.querySelector('.final') !== null && beforeSeconds > 0")
    expect(page.locator(INTERIM)).to_be_visible()


def test_the_latest_lag_is_shown(page: Page, live_server: Server) -> None:
    connect(page, live_server)
    for seconds, shown in ((3.5, "3.5 s"), (7.1, "7.1 s"), (4, "4.0 s"), (0, "none")):
        page.evaluate(
            f"socket.listeners('lagging').forEach((show) => show({{seconds: {seconds}}}))"
        )
        expect(page.locator("#lag")).to_have_text(shown)


def test_all_of_the_file_button_can_be_clicked(page: Page, live_server: Server) -> None:
    connect(page, live_server)
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        hit = page.evaluate("""() => {
            // The corners are round.
            const box = document.getElementById('file-button').getBoundingClientRect();
            const across = [box.left + 5, box.left + box.width / 2, box.right - 5];
            const down = [box.top + 5, box.top + box.height / 2, box.bottom - 5];
            return across.flatMap((x) => down.map((y) => {
                const label = document.elementFromPoint(x, y).closest('label');
                return label !== null && label.control.id === 'file' && box.height >= 44;
            }));
        }""")
        assert all(hit) and len(hit) == 9


def test_copying_is_told(page: Page, live_server: Server) -> None:
    open_page(page, live_server)
    permissions = ["clipboard-read", "clipboard-write"]
    page.context.grant_permissions(permissions, origin=live_server.url)
    page.evaluate(
        """showTranscription({transcription: 'Good day', is_final: true, start: 0, end: 1})"""
    )
    page.bring_to_front()
    page.click("#copy")
    expect(page.locator(STATE)).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "Good day\n"


def test_the_page_works_opened_as_a_file(page: Page) -> None:
    """Without a server of its own it asks for an address, and tells what it cannot load."""
    page.goto((ROOT / "websocket-test.html").as_uri())
    expect(page.locator("#address")).to_have_value(re.compile("^https://"))
    expect(page.locator(STATE)).to_have_text("Not connected")
    expect(page.locator(ERRORS)).to_be_empty()
    names = page.evaluate("[...document.querySelectorAll('button, input')].map((one) => one.id)")
    assert {"connect", "microphone", "file", "finish", "copy", "save-txt", "save-srt"} <= set(names)


@pytest.mark.slow
def test_a_page_opened_as_a_file_speaks(page: Page, live_server: Server, tmp_path: Path) -> None:
    """With the client from the CDN, whose place the copy of npm takes here."""
    client = SOCKETIO_CLIENT.read_bytes()
    known = base64.b64encode(hashlib.sha384(client).digest()).decode()
    text = (ROOT / "websocket-test.html").read_text("utf-8")
    path = tmp_path / "websocket-test.html"
    path.write_text(re.sub("sha384-[^']+", f"sha384-{known}", text), "utf-8")
    headers = {"Access-Control-Allow-Origin": "*"}
    page.route(
        "https://cdn.socket.io/**",
        lambda route: route.fulfill(body=client, content_type="text/javascript", headers=headers),
    )
    page.goto(path.as_uri())
    page.fill("#address", live_server.url)
    page.click("#connect")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))
    page.click("#microphone")
    expect(page.locator(f"{INTERIM}, {FINAL}").first).to_be_visible()
    expect(page.locator(ERRORS)).to_be_empty()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_everybody_can_use_it(chromium: Browser, live_server: Server, scheme: str) -> None:
    for viewport in (DESKTOP, PHONE):
        with new_context(chromium, viewport=viewport, is_mobile=viewport == PHONE) as context:
            page = context.new_page()
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            open_page(page, live_server)
            assert_usable(page)
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(colour.split("(")[1].split(",")[0]) < 100) == (scheme == "dark")
