"""The transcript in the browser: heard, edited, saved, and edited by two people at once."""

import json
from typing import Any

import pytest
import soundfile
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.browser import ASKS, assert_usable, handle_first, new_context
from tests.support.server import Server
from tests.support.studio_page import REFUSE_STORAGE
from tests.web.studio.conftest import DESKTOP, KEEP_MEDIA, Song, until

pytestmark = pytest.mark.browser
SAVED = "document.querySelector('.save').textContent.trim() === 'Saved'"
EDITED = "**/files/*/transcription"
GONE = {"code": "unknown_file", "error": "There is no such file."}
HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit=1'>",
    "שלום עולם hello",
    "我爱北京天安门",
]
NOW = "document.querySelectorAll('.line')[{}].matches('.now')"
COUNT_ADDRESSES = """
window.addresses = 0;
const replace = history.replaceState;
history.replaceState = function (...more) {
  addresses += 1;
  replace.apply(this, more);
};
"""


def words_of(line: str, start_s: float) -> list[dict[str, Any]]:
    """The words of a line, half a second each."""
    return [
        {"text": f" {word}", "start_s": start_s + n / 2, "end_s": start_s + (n + 1) / 2}
        for n, word in enumerate(line.split())
    ]


def write(studio: Server, song: Song, *lines: str) -> None:
    """Give the song these lines, a line every two seconds."""
    segments = [
        {
            "start_s": 2.0 * n,
            "end_s": 2.0 * n + 1.9,
            "text": f" {line}",
            "words": words_of(line, 2.0 * n),
        }
        for n, line in enumerate(lines)
    ]
    studio.edit(song.file_id, segments)


def saved_text(studio: Server, song: Song) -> str:
    return studio.get(f"/download/{song.file_id}/transcription").text


def write_over(page: Page, line: int, text: str) -> Locator:
    """Open a line and fill in a text; its field."""
    page.locator(".line").nth(line).get_by_role("button", name="Edit the line").click()
    field = page.get_by_role("textbox", name="Line at")
    field.fill(text)
    return field


def edit(page: Page, line: int, text: str) -> None:
    write_over(page, line, text).press("Escape")


def lose_answer(route: Route) -> None:
    """The server gets the request, and the page no answer."""
    route.fetch()


@pytest.mark.slow
def test_a_word_is_heard_and_marked(page: Page, studio: Server, sung: Song) -> None:
    words = [
        {"text": " four", "start_s": 2.0, "end_s": 3.0},
        # So long that a slow machine sees it marked.
        {"text": " five", "start_s": 3.0, "end_s": 13.0},
    ]
    line = {"start_s": 2.0, "end_s": 13.0, "text": " four five", "words": words}
    studio.edit(sung.file_id, [line])
    page.goto(f"/studio/{sung.file_id}/transcript")
    page.get_by_role("button", name="five").click()
    until(page, "document.querySelector('.word[aria-current]')?.textContent === 'five'")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    until(page, "Number(new URLSearchParams(location.search).get('t')) >= 2")


@pytest.fixture(scope="module")
def unplayable(studio: Server, song: Song) -> Song:
    """A transcribed recording in a format that Chromium cannot play."""
    sound, rate_hz = soundfile.read(song.path)
    path = studio.folder / "tone.aiff"
    soundfile.write(path, sound, rate_hz, "PCM_16")
    file_id = studio.upload(path)
    assert studio.process(file_id, "whisper").status_code == 202
    assert studio.wait(file_id)["status"] == "completed"
    return Song(file_id, path)


def test_a_file_that_the_browser_cannot_play_is_heard_as_mp3(
    page: Page, studio: Server, unplayable: Song
) -> None:
    write(studio, unplayable, "one two three", "four five six")
    copies: list[str] = []
    page.on("request", lambda one: copies.append(one.url) if "format=mp3" in one.url else None)
    page.goto(f"/studio/{unplayable.file_id}/transcript?t=2")
    page.get_by_role("button", name="Play", exact=True).click()
    # A slow machine has time to pause it before its end.
    until(page, "parseInt(document.querySelector('.times span').textContent.slice(2)) >= 3")
    page.get_by_role("button", name="Pause").click()
    until(page, "Number(new URLSearchParams(location.search).get('t')) >= 3")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert copies


@pytest.mark.slow
def test_a_file_that_cannot_be_loaded_is_not_converted(
    page: Page, studio: Server, sung: Song
) -> None:
    write(studio, sung, "one two three")
    original = f"**/download/{sung.file_id}/original"
    busy = json.dumps({"code": "too_many_conversions", "error": "The server is busy."})
    page.route(original, lambda route: route.fulfill(status=503, body=busy))
    copies: list[str] = []
    page.on("request", lambda one: copies.append(one.url) if "format=mp3" in one.url else None)
    with page.expect_request(lambda one: one.method == "HEAD"):
        page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.get_by_text("The sound cannot be played.")).to_be_visible()
    page.unroute(original)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, "parseInt(document.querySelector('.times span').textContent.slice(2)) >= 1")
    assert copies == []


@pytest.mark.slow
def test_a_reader_who_scrolls_elsewhere_stays_there(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, *["one two three"] * 8)
    page.set_viewport_size({"width": 800, "height": 300})
    page.add_init_script(KEEP_MEDIA)
    page.goto(f"/studio/{sung.file_id}/transcript?t=10")
    line = page.locator(".line")
    page.get_by_role("button", name="Play", exact=True).click()
    # It is looked for by whoever starts it, and then followed, here at a low speed.
    page.evaluate("media.at(-1).playbackRate = 0.0625")
    expect(line.nth(5)).to_be_in_viewport()
    page.evaluate("media.at(-1).currentTime = 2.1")
    until(page, NOW.format(1))
    expect(line.nth(1)).to_be_in_viewport()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(line.nth(1)).not_to_be_in_viewport()
    place = page.evaluate("scrollY")
    page.evaluate("media.at(-1).currentTime = 4.1")
    until(page, NOW.format(2))
    assert page.evaluate("scrollY") == place
    line.nth(2).scroll_into_view_if_needed()
    page.evaluate("media.at(-1).currentTime = 14.1")
    until(page, NOW.format(7))
    expect(line.nth(7)).to_be_in_viewport()


@pytest.mark.slow
def test_the_address_changes_once_for_many_jumps(page: Page, studio: Server, sung: Song) -> None:
    """Browsers limit how often it may."""
    write(studio, sung, "one two three")
    page.add_init_script(KEEP_MEDIA + COUNT_ADDRESSES)
    page.goto(f"/studio/{sung.file_id}/transcript?t=3")
    expect(page.locator(".line")).to_have_count(1)
    page.evaluate(
        """() => {
          for (let n = 0; n < 50; n++) media.at(-1).dispatchEvent(new Event("seeked"));
        }"""
    )
    until(page, "addresses > 0")
    assert page.evaluate("addresses") < 5


@pytest.mark.slow
def test_a_long_text_scrolls_with_the_page(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, *["one two three"] * 8)
    page.goto(f"/studio/{sung.file_id}/transcript")
    # At one time, because the page may still move.
    line = page.locator(".line").nth(1)
    time, word = line.evaluate(
        """(line) => ["[data-hear]", ".word"].map((one) => line.querySelector(one))
        .map((one) => one.getBoundingClientRect())
        .map(({ y, height }) => y + height / 2)"""
    )
    assert abs(time - word) < 4
    page.set_viewport_size({"width": 800, "height": 300})
    lines = "document.querySelector('.lines')"
    assert page.evaluate(f"{lines}.scrollHeight === {lines}.clientHeight")


def test_edits_survive_a_reload_and_can_be_undone(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, "one two three", "four five six")
    page.goto(f"/studio/{sung.file_id}/transcript")
    edit(page, 0, "one 2 three")
    page.reload()
    expect(page.locator(".line").first).to_contain_text("one 2 three")
    until(page, SAVED)
    assert saved_text(studio, sung).startswith("one 2 three\n")

    # The keyboard alone: split, join, undo.
    page.locator('.word[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("e")
    # Safari's Enter at the end of a composition splits nothing.
    page.get_by_role("textbox", name="Line at").evaluate(
        "(field) => field.dispatchEvent(new KeyboardEvent('keydown',"
        " { key: 'Enter', keyCode: 229, bubbles: true }))"
    )
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".line")).to_have_count(3)
    page.keyboard.press("e")
    page.keyboard.press("Home")
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    expect(page.locator(".line")).to_have_count(2)
    expect(page.locator(".line").first).to_contain_text("one 2 three")
    until(page, SAVED)
    with page.expect_response(lambda answer: answer.request.method == "PUT") as put:
        page.keyboard.press("Control+z")
        expect(page.locator(".line")).to_have_count(3)
    [first, second, _] = json.loads(put.value.request.post_data or "")["segments"]
    assert (first["text"], second["text"]) == (" one", " 2 three")
    assert second["words"][1] == {
        "text": " three",
        "start_s": 1.0,
        "end_s": 1.5,
        "probability": 1.0,
    }

    # An undo removes the chosen word: the focus moves to one that is still there.
    edit(page, 2, "four five six seven")
    page.keyboard.press("End")
    focused = page.locator(".word:focus")
    expect(focused).to_have_text("seven")
    page.keyboard.press("Control+z")
    expect(focused).to_have_text("six")
    page.keyboard.press("ArrowLeft")
    expect(focused).to_have_text("five")


@pytest.mark.slow
def test_two_people_edit_at_once(page: Page, chromium: Browser, studio: Server, sung: Song) -> None:
    write(studio, sung, "one two three", "four five six")
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.locator(".line")).to_have_count(2)
    with new_context(chromium, base_url=studio.url, viewport=DESKTOP, locale="en-GB") as context:
        other = context.new_page()
        other.goto(f"/studio/{sung.file_id}/transcript")
        expect(other.locator(".line")).to_have_count(2)
        # While a line is open, the page does not take over what others have saved.
        field = write_over(other, 1, "theirs")
        edit(page, 0, "mine")
        until(page, SAVED)
        field.press("Escape")
        conflict = other.get_by_role("alert")
        expect(conflict).to_contain_text("mine")
        expect(conflict).to_contain_text("theirs")
        assert_usable(other)
        conflict.get_by_role("button", name="Keep my version").click()
        until(other, SAVED)
    assert saved_text(studio, sung) == "one two three\ntheirs\n"


@pytest.mark.slow
def test_a_conflict_waits_for_a_decision(page: Page, studio: Server, sung: Song) -> None:
    """However often the page is opened; a save whose answer was lost is none."""
    address = f"/studio/{sung.file_id}/transcript"
    write(studio, sung, "one two three")
    page.goto(address)
    page.route(EDITED, lose_answer)
    edit(page, 0, "mine")
    saved = f"fetch('/download/{sung.file_id}/transcription').then((answer) => answer.text())"
    until(page, f"{saved}.then((text) => text === 'mine\\n')")
    page.reload()
    page.unroute(EDITED)
    expect(page.locator(".save")).to_have_text("Saved")

    page.context.set_offline(True)
    edit(page, 0, "mine again")
    expect(page.locator(".save")).to_contain_text("stored in this browser")
    page.goto("about:blank")
    page.context.set_offline(False)
    write(studio, sung, "theirs")
    conflict = page.get_by_role("alert")
    for _ in range(2):
        page.goto(address)
        expect(conflict).to_contain_text("theirs")
    page.get_by_role("link", name="Karaoke", exact=True).click()
    expect(conflict).to_contain_text("mine again")
    assert saved_text(studio, sung) == "theirs\n"
    conflict.get_by_role("button", name="Keep my version").click()
    expect(page.locator(".save")).to_have_text("Saved")
    assert saved_text(studio, sung) == "mine again\n"


@pytest.mark.slow
def test_a_tab_leaves_the_draft_of_another_alone(page: Page, studio: Server, sung: Song) -> None:
    address = f"/studio/{sung.file_id}/transcript"
    write(studio, sung, "one two three")
    other = page.context.new_page()
    for one in (page, other):
        one.goto(address)
        expect(one.locator(".line")).to_have_count(1)
    page.route(EDITED, lambda route: route.abort())
    edit(page, 0, "mine")
    expect(page.locator(".save")).to_contain_text("It is stored in this browser")
    page.goto("about:blank")
    edit(other, 0, "theirs")
    until(other, SAVED)
    page.unroute(EDITED)
    page.goto(address)
    expect(page.get_by_role("alert")).to_contain_text("mine")
    assert saved_text(studio, sung) == "theirs\n"


@pytest.mark.slow
def test_edits_that_no_browser_stores_are_said(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, "one two three")
    page.add_init_script(REFUSE_STORAGE)
    page.route(EDITED, lambda route: route.abort())
    page.goto(f"/studio/{sung.file_id}/transcript")
    edit(page, 0, "nowhere")
    expect(page.locator(".save")).to_contain_text("not stored in this browser")
    assert page.evaluate(ASKS)
    page.unroute(EDITED)
    until(page, SAVED)
    assert not page.evaluate(ASKS)


@pytest.mark.slow
def test_downloads_have_all_edits(page: Page, studio: Server, sung: Song) -> None:
    """Also while an edit is saved; and none is downloaded without an edit that cannot be saved."""
    write(studio, sung, "one two three")
    page.goto(f"/studio/{sung.file_id}/transcript")
    downloads = page.get_by_role("group", name="Downloads")
    text = downloads.get_by_role("link", name="Text", exact=True)
    held = handle_first(page, EDITED, lambda _: None)
    edit(page, 0, "first")
    expect(page.locator(".save")).to_have_text("Saving")
    edit(page, 0, "second")
    with page.expect_download() as download:
        text.click()
        held[0].continue_()
    assert download.value.path().read_text("utf-8") == "second\n"

    page.route(EDITED, lambda route: route.abort())
    edit(page, 0, "third")
    text.click()
    expect(downloads.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute(EDITED)
    expect(page.locator(".save")).to_have_text("Saved")
    expect(downloads.get_by_role("alert")).to_be_hidden()


@pytest.mark.slow
def test_a_text_that_cannot_be_loaded_can_be_downloaded(
    page: Page, studio: Server, sung: Song
) -> None:
    write(studio, sung, "one two three")
    text = "**/download/*/transcription?format=json"
    busy = {"code": "overloaded", "error": "The server is busy."}
    page.route(text, lambda route: route.fulfill(status=503, json=busy))
    page.goto(f"/studio/{sung.file_id}/transcript")
    save = page.locator(".save")
    expect(save).to_contain_text("The text cannot be loaded. The server is busy.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Text", exact=True).click()
    assert download.value.path().read_text("utf-8") == "one two three\n"
    page.unroute(text)
    expect(page.locator(".line")).to_contain_text("one two three")
    expect(save).to_have_text("Saved")


@pytest.mark.slow
def test_hostile_lines_are_only_text(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, *HOSTILE)
    for name in ("transcript", "karaoke"):
        page.goto(f"/studio/{sung.file_id}/{name}?t=0")
        expect(page.locator("main")).to_contain_text("<script>window.hit")
        assert page.evaluate("window.hit") is None
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.locator(".line")).to_have_count(len(HOSTILE))
    directions = page.evaluate(
        "[...document.querySelectorAll('.line-words')]"
        ".map((line) => getComputedStyle(line).direction)"
    )
    assert directions == ["ltr", "ltr", "rtl", "ltr"]


@pytest.mark.slow
def test_a_translation_is_in_the_language_of_its_text(
    page: Page, studio: Server, sung: Song
) -> None:
    """Browsers check the spelling by it, and choose the font."""

    def translate(route: Route) -> None:
        answer = route.fetch()
        languages = {"language": "zh", "translated_into": "en"}
        route.fulfill(response=answer, json=answer.json() | languages)

    write(studio, sung, "one two three")
    page.route("**/download/*/transcription?format=json", translate)
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(write_over(page, 0, "one two four")).to_have_attribute("lang", "en")


@pytest.mark.slow
def test_a_lost_server_and_a_deleted_file_are_said(page: Page, studio: Server, sung: Song) -> None:
    write(studio, sung, "one two three")
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.locator(".line")).to_have_count(1)
    page.context.set_offline(True)
    # The page looks for edits of others every ten seconds.
    with page.expect_event("requestfailed", lambda request: "format=json" in request.url):
        pass
    # By the end of a later request the page has seen the failure.
    page.evaluate("fetch('/health').catch(() => {})")
    expect(page.locator(".save")).to_have_text("Saved")
    edit(page, 0, "taken back")
    expect(page.locator(".save")).to_contain_text("stored in this browser")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".save")).to_have_text("Saved")
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes('draft'))") == []
    edit(page, 0, "kept")
    expect(page.locator(".save")).to_contain_text("stored in this browser")
    assert_usable(page)
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").first.click()
    expect(page.locator(".save")).to_have_text("Saved")
    assert saved_text(studio, sung) == "kept\n"

    page.route("**/files/**", lambda route: route.fulfill(status=404, json=GONE))
    edit(page, 0, "too late")
    expect(page.locator(".save")).to_contain_text("no longer on the server")
