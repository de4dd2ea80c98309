"""The page of live transcription: what is said into the microphone is written down."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.transcription.engine import RATE_HZ
from studio.transcription.languages import LANGUAGES
from tests.support.browser import ASKS, NO_WEBSOCKETS, PHONE, assert_usable, until
from tests.support.keys import SECRET
from tests.support.live_client import Client, open_sessions
from tests.support.server import LAUNCHER, WAIT_S, Server
from tests.support.server import until as happens
from tests.support.sounds import write_wav
from tests.support.speech import MAX_WRONG, MAX_WRONG_HEARD, Spoken, wrong
from tests.support.studio_page import HOLD

pytestmark = pytest.mark.browser
FINAL = ".live-lines .final"
# Cuts the first connection in the middle of the first sentence.
CUT = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...more) { super(...more); sockets.push(this); }
};
const looking = setInterval(() => {
  const sent = document.querySelector('[data-figure=sent]')?.innerText;
  if (!(parseFloat(sent) > 1.2)) return;
  clearInterval(looking);
  sockets.at(-1).close();
}, 20);
"""

# No connection can be opened while `isAway`.
AWAY = """
window.isAway = false;
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(url, ...more) {
    super(isAway ? "ws://127.0.0.1:9" : url, ...more);
    sockets.push(this);
  }
};
"""
SENT_S = "parseFloat(document.querySelector('[data-figure=sent]')?.innerText)"
LOST = "Connection lost."

# The microphone is granted when the test says so.
HOLD_MICROPHONE = """
window.streams = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  await new Promise((resolve) => { window.grant = resolve; });
  streams.push(stream);
  return stream;
};
"""
COUNT_LOCKS = """
window.locks = 0;
WakeLock.prototype.request = async () => {
  locks += 1;
  return { release: async () => {} };
};
"""
# How far the reader is from the end of a box.
END_PX = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight"
# What the server would send.
HEAR = """async ([count, isFinal]) => {
  const main = document.querySelector("script[type=module]").src;
  const { text } = await import(main.replace("main.js", "data/live.js"));
  for (let n = 0; n < count; n++) {
    text.take({ transcription: `line ${n}`, start: n, end: n + 1, is_final: isFinal }, 0);
  }
}"""
OPEN_TRACKS = """streams.flatMap((stream) => stream.getTracks())
  .filter((track) => track.readyState === "live").length"""


def open_page(page: Page, server: Server | None = None) -> None:
    page.goto(f"{server.url if server else ''}/live")
    page.get_by_label("Model").select_option("mini")


def said(page: Page) -> str:
    return " ".join(page.locator(FINAL).all_inner_texts())


@pytest.fixture(scope="module")
def speech(recording: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two sentences."""
    path = tmp_path_factory.mktemp("live") / "speech.wav"
    return write_wav(path, recording.part(0, 2)[None], RATE_HZ)


def test_what_is_said_is_written_down(page: Page, recording: Spoken) -> None:
    open_page(page)
    page.get_by_role("button", name="Start the microphone").click()
    until(page, "document.querySelector('[role=meter]').ariaValueNow > 3")
    expect(page.get_by_label("Model")).to_be_disabled()
    expect(page.locator(FINAL).nth(1)).to_be_visible()
    assert 0 < float(page.locator("[data-figure=latency]").inner_text().removesuffix(" s")) < 60
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
    expect(page.locator(".interim")).to_have_count(0)
    lines = page.locator(FINAL).all_inner_texts()
    assert wrong(" ".join(recording.sentences[:2]), " ".join(lines[:2])) <= MAX_WRONG_HEARD
    # It stays until it is saved.
    page.get_by_role("link", name="Songs").click()
    page.get_by_role("link", name="Live").click()
    expect(page.locator(FINAL)).to_have_text(lines)
    assert page.evaluate(ASKS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as SRT").click()
    subtitles = Path(download.value.path()).read_text("utf-8")
    assert subtitles.startswith("1\n00:00:0")
    assert subtitles.count("-->") == len(lines)
    assert not page.evaluate(ASKS)


@pytest.mark.slow
def test_no_word_is_lost_with_the_connection(page: Page, recording: Spoken, speech: Path) -> None:
    page.add_init_script(CUT)
    open_page(page)
    page.set_input_files("#live-file", speech)
    until(page, "sockets.length === 2")
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
    assert wrong(" ".join(recording.sentences[:2]), said(page)) <= 2 * MAX_WRONG
    starts = [
        float((words.get_attribute("title") or "").split()[0])
        for words in page.locator(f"{FINAL} span[title]").all()
    ]
    assert starts == sorted(starts)
    assert page.locator("[data-figure=pending]").inner_text() == "0.0 s"


@pytest.mark.slow
def test_no_word_is_lost_when_the_server_is_restarted(
    page: Page, recording: Spoken, speech: Path, tmp_path: Path
) -> None:
    """It closes the connections of its clients before it stops."""
    server = Server(tmp_path, WHISPER_MODEL="mini", SECRET_KEY=SECRET)
    server.start(command=LAUNCHER)
    try:
        open_page(page, server)
        page.set_input_files("#live-file", speech)
        until(page, f"{SENT_S} > 1.2")
        server.stop()
        expect(page.get_by_text(LOST)).to_be_visible()
        server.start(command=LAUNCHER)
        expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
        assert wrong(" ".join(recording.sentences[:2]), said(page)) <= 2 * MAX_WRONG
        expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        # The server waits for its connections before it stops.
        page.goto("about:blank")
        server.stop()


@pytest.mark.slow
def test_a_speaker_waits_until_the_place_of_its_lost_connection_is_free(
    page: Page, recording: Spoken, speech: Path, tmp_path: Path
) -> None:
    """A server may notice later than the client that a connection is lost."""
    refusals: list[str] = []

    def note(frame: str | bytes) -> None:
        if "too_many_sessions" in str(frame):
            refusals.append(str(frame))

    page.on("websocket", lambda opened: opened.on("framereceived", note))
    page.add_init_script(AWAY)
    server = Server(tmp_path, WHISPER_MODEL="mini", LIVE_SESSIONS=1).start()
    try:
        open_page(page, server)
        page.set_input_files("#live-file", speech)
        until(page, f"{SENT_S} > 1.2")
        page.route("**/socket.io/*", lambda route: route.abort())
        page.evaluate("() => { isAway = true; sockets.at(-1).close(); }")
        happens(lambda: open_sessions(server) == 0)
        with Client(server) as other:
            other.greeting()
            page.evaluate("isAway = false")
            ends_s = time.monotonic() + WAIT_S
            while not refusals and time.monotonic() < ends_s:
                page.evaluate("new Promise((done) => setTimeout(done, 100))")
            assert refusals
            expect(page.get_by_text(LOST)).to_be_visible()
            expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
        assert wrong(" ".join(recording.sentences[:2]), said(page)) <= 2 * MAX_WRONG
    finally:
        page.goto("about:blank")
        server.stop()


@pytest.mark.slow
def test_polling_is_enough(page: Page, speech: Path) -> None:
    page.add_init_script(NO_WEBSOCKETS)
    open_page(page)
    page.set_input_files("#live-file", speech)
    expect(page.locator(FINAL).first).to_be_visible()


@pytest.mark.slow
def test_a_file_without_sound_is_refused(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("No sound.")
    open_page(page)
    page.set_input_files("#live-file", text)
    expect(page.get_by_role("alert")).to_contain_text("cannot decode letter.txt")
    expect(page.get_by_role("button", name="Start the microphone")).to_be_enabled()


@pytest.mark.slow
def test_a_denied_microphone_is_told(page: Page) -> None:
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('Not allowed.'))"
    )
    open_page(page)
    page.get_by_role("button", name="Start the microphone").click()
    expect(page.get_by_role("alert")).to_have_text("The microphone cannot be used: Not allowed.")
    expect(page.get_by_role("button", name="Start the microphone")).to_be_enabled()


@pytest.mark.slow
def test_a_microphone_granted_after_the_end_is_let_go(page: Page) -> None:
    page.add_init_script(HOLD_MICROPHONE)
    open_page(page)
    start = page.get_by_role("button", name="Start the microphone")
    stop, leave = page.get_by_role("button", name="Stop"), page.get_by_role("link", name="Songs")
    for number, end in enumerate((stop, leave), start=1):
        start.press("Enter")
        until(page, "Boolean(window.grant)")
        expect(stop).to_be_focused()
        end.press("Enter")
        if end is stop:
            expect(stop).to_be_disabled()
        page.evaluate("() => { grant(); window.grant = null; }")
        until(page, f"streams.length === {number} && {OPEN_TRACKS} === 0")
        if end is stop:
            expect(start).to_be_focused()


@pytest.mark.slow
def test_a_held_tab_key_moves_on_from_the_button(page: Page) -> None:
    open_page(page)
    page.locator(".live-input select").last.focus()
    for _ in range(2):
        page.keyboard.down("Tab")
    page.keyboard.up("Tab")
    expect(page.get_by_role("button", name="Start the microphone")).not_to_be_focused()
    expect(page.get_by_role("button", name="Stream a file")).to_be_focused()


@pytest.mark.slow
def test_a_microphone_that_is_unplugged_ends_the_recording(page: Page) -> None:
    page.add_init_script(HOLD_MICROPHONE + COUNT_LOCKS)
    open_page(page)
    page.get_by_role("button", name="Start the microphone").click()
    until(page, "Boolean(window.grant)")
    page.evaluate("grant()")
    expect(page.get_by_text("Listening")).to_be_visible()
    # A page that was hidden has lost its lock.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.evaluate("locks") == 2
    page.evaluate("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(page.get_by_role("alert")).to_contain_text("The microphone was disconnected")
    expect(page.get_by_role("button", name="Start the microphone")).to_be_enabled()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.evaluate("locks") == 2


def test_the_newest_words_are_shown_without_moving_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 1200, "height": 400})
    open_page(page)
    page.evaluate(HEAR, [40, True])
    page.evaluate(HEAR, [1, False])
    expect(page.locator(".interim")).to_have_text("line 0")
    box = page.locator(".live-lines")
    until(page, f"({END_PX})(document.querySelector('.live-lines')) < 1")
    assert page.evaluate("scrollY") == 0
    # Whoever reads earlier words stays there.
    box.evaluate("(box) => { box.scrollTop = 0; }")
    # The event of a scroll comes with the next frame.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(HEAR, [1, True])
    expect(page.locator(FINAL)).to_have_count(41)
    assert box.evaluate("(box) => box.scrollTop") == 0


def test_each_line_has_the_direction_of_its_words(page: Page) -> None:
    open_page(page)
    page.evaluate(HEAR, [1, True])
    page.evaluate(HEAR.replace("`line ${n}`", "'שלום'"), [1, True])
    page.evaluate(HEAR.replace("`line ${n}`", "'שלום'"), [1, False])
    for row, direction in (
        (".final >> nth=0", "ltr"),
        (".final >> nth=1", "rtl"),
        (".interim", "rtl"),
    ):
        expect(page.locator(f".live-lines {row}")).to_have_css("direction", direction)


def test_what_is_cleared_comes_back_and_survives_a_reload(page: Page) -> None:
    page.add_init_script(HOLD)
    open_page(page)
    page.evaluate(HEAR, [2, True])
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(FINAL)).to_have_count(0)
    page.evaluate(HEAR, [1, True])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(FINAL)).to_have_text(["line 0", "line 1", "line 0"])
    assert page.evaluate(ASKS)
    page.reload()
    expect(page.locator(FINAL)).to_have_text(["line 0", "line 1", "line 0"])
    assert page.evaluate(ASKS)
    page.get_by_role("button", name="Clear").click()
    page.reload()
    expect(page.get_by_text("The transcript appears here.")).to_be_visible()


def test_all_languages_are_offered(page: Page) -> None:
    open_page(page)
    codes = page.evaluate(
        "[...document.querySelectorAll('main select')[1].options].map(o => o.value)"
    )
    assert sorted(codes) == sorted(["", *LANGUAGES])


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_everybody_can_use_it_on_a_phone(page: Page, scheme: str) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    open_page(page)
    assert_usable(page)
