"""The list of songs: files are uploaded, worked on, found again and deleted."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import ASKS, assert_usable, hold_requests, until
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.studio_page import CARDS, HOLD, LOOK, REFUSE_STORAGE, remember
from tests.web.studio.conftest import DESKTOP, PHONE, Song

pytestmark = pytest.mark.browser
FILES = "#files"


def show_upload(page: Page, studio: Server, name: str) -> str:
    """Open a list with one song, whose deletion waits for `endUndo()`; the ID of the song."""
    file_id = studio.upload(write_wav(studio.folder / name, noise(0.2)))
    remember(page, [{"id": file_id, "name": name, "addedMs": 1, "durationS": 0.2}])
    page.add_init_script(HOLD)
    page.goto("/studio")
    return file_id


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """A server that does nothing for a while."""
    parent = psutil.Process(server.pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def record(song: Song, name: str) -> dict[str, object]:
    return {"id": song.file_id, "name": name, "addedMs": 1, "durationS": 8}


def test_a_song_comes_apart_and_is_found_again(page: Page, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "my song.wav", noise(4))
    page.goto("/")
    page.set_input_files(FILES, path)
    card = page.locator(CARDS)
    expect(card).to_contain_text("my song.wav")
    expect(card).to_contain_text("0:04")
    card.get_by_role("button", name="Separate").click()
    expect(card.get_by_role("link", name="Open the mixer")).to_be_visible()
    made = card.locator(".made li")
    expect(made).to_have_text(["Drums", "Bass", "Other", "Vocals", "ZIP"])
    page.reload()
    expect(made).to_have_text(["Drums", "Bass", "Other", "Vocals", "ZIP"])
    card.get_by_role("link", name="Open the mixer").click()
    expect(page.get_by_role("heading", name="my song.wav")).to_be_visible()
    expect(page).to_have_title("my song.wav - Mixer - Audio Studio")
    expect(page.get_by_role("main")).to_be_focused()
    page.go_back()
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page).to_have_title("Audio Studio")


@pytest.mark.slow
def test_a_file_that_is_not_audio_is_refused_with_the_server_s_reason(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "text.mp3"
    path.write_text("not audio")
    page.goto("/studio")
    page.set_input_files(FILES, path)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.locator(".bad")).to_contain_text("contains no audio")
    assert_usable(page)
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".song")).to_have_count(0)


@pytest.mark.slow
def test_uploads_wait_for_the_rate_limit(page: Page, tmp_path: Path) -> None:
    refused = {"code": "too_many_requests", "error": "Rate limit exceeded."}
    answered: list[Route] = []

    def refuse_first(route: Route) -> None:
        answered.append(route)
        if len(answered) == 1:
            route.fulfill(status=429, json=refused, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route("**/upload", refuse_first)
    page.goto("/studio")
    names = [f"{number}.wav" for number in range(3)]
    page.set_input_files(FILES, [write_wav(tmp_path / name, noise(0.2)) for name in names])
    expect(page.locator(CARDS)).to_have_count(3)
    assert len(answered) == 4


def test_uploads_wait_for_a_lost_server(page: Page, tmp_path: Path) -> None:
    page.goto("/studio")
    expect(page.get_by_text("No songs yet.")).to_be_visible()
    page.context.set_offline(True)
    names = [f"{number}.wav" for number in range(3)]
    page.set_input_files(FILES, [write_wav(tmp_path / name, noise(0.2)) for name in names])
    lost = page.get_by_text("Waiting to upload. The connection was lost.")
    expect(lost.first).to_be_visible()
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator(CARDS)).to_have_count(3)
    expect(page.locator(".song")).to_have_count(3)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "attempts"), [(0, 2), (502, 3), (503, 3)])
def test_an_upload_fails_after_some_attempts(
    page: Page, tmp_path: Path, status: int, attempts: int
) -> None:
    """A busy server is asked again, too; other files are uploaded meanwhile.

    A server that is there may break off what it refuses.
    """
    asked: list[Route] = []

    def refuse_first(route: Route) -> None:
        if "first.wav" not in (route.request.post_data_buffer or b"").decode("latin-1"):
            route.continue_()
            return
        asked.append(route)
        if status:
            route.fulfill(status=status, body="The server is busy.")
        else:
            route.abort()

    page.route("**/upload", refuse_first)
    page.goto("/studio")
    names = ("first.wav", "second.wav")
    page.set_input_files(FILES, [write_wav(tmp_path / name, noise(0.2)) for name in names])
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    assert len(asked) == attempts
    expect(page.locator(CARDS)).to_contain_text("second.wav")
    page.unroute("**/upload")
    again.click()
    expect(page.locator(CARDS)).to_have_count(2)


@pytest.mark.slow
def test_an_upload_that_ends_leaves_others_the_focus(page: Page, tmp_path: Path) -> None:
    held = hold_requests(page, "**/upload")
    page.goto("/studio")
    names = ("first.wav", "second.wav")
    page.set_input_files(FILES, [write_wav(tmp_path / name, noise(0.2)) for name in names])
    remove = page.locator(".song", has_text="second.wav").get_by_role("button", name="Remove")
    remove.focus()
    while len(held) < 2:
        page.evaluate("fetch('/health').then((answer) => answer.text())")
    held[0].continue_()
    expect(page.locator(CARDS)).to_contain_text("first.wav")
    expect(remove).to_be_focused()


@pytest.mark.slow
def test_an_upload_removed_while_it_is_checked_does_not_stay(
    page: Page, studio: Server, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "unwanted.wav", noise(0.1))
    large = tmp_path / "large.wav"
    # More than the system takes.
    large.write_bytes(bytes(30 << 20))
    page.goto("/studio")
    with page.expect_response("**/cleanup/*") as deleted:
        # The system takes the file in place of the server, which checks it later.
        with stopped(studio):
            page.set_input_files(FILES, [path, large])
            # Screen readers do not read out every percent.
            percent = page.locator(".song", has_text="large").locator(".state p")
            expect(percent).to_have_attribute("aria-live", "off")
            expect(page.get_by_text("Checking the file")).to_be_visible()
            assert page.evaluate(ASKS)
            for name in ("unwanted", "large"):
                card = page.locator(".song", has_text=name)
                card.get_by_role("button", name="Remove").click()
        expect(page.locator(".song")).to_have_count(0)
    assert not page.evaluate(ASKS)
    assert deleted.value.ok
    file_id = deleted.value.url.rsplit("/", 1)[-1]
    assert studio.get(f"/status/{file_id}").status_code == 404


def test_a_search_stays_while_it_hides_songs(page: Page) -> None:
    remember(page, [{"id": f"{n:032x}", "name": f"{n}.wav", "addedMs": n} for n in range(6)])
    page.goto("/studio")
    search = page.get_by_role("searchbox")
    search.fill("3.wav")
    expect(page.locator(CARDS)).to_contain_text("no longer on the server")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No song matches.")).to_be_visible()
    search.fill("")
    expect(page.locator(CARDS)).to_have_count(5)
    expect(search).to_be_hidden()


def test_a_browser_that_keeps_nothing_is_enough(page: Page, tmp_path: Path) -> None:
    page.add_init_script(REFUSE_STORAGE)
    page.goto("/docs#check_health")
    page.get_by_role("button", name="JavaScript").click()
    expect(page.locator("#check_health pre.code:visible")).to_contain_text("fetch(")
    page.goto("/live")
    expect(page.get_by_text("The transcript appears here.")).to_be_visible()
    page.get_by_label("Language", exact=True).first.select_option("de")
    page.get_by_role("link", name="Songs").click()
    page.set_input_files(FILES, write_wav(tmp_path / "short.wav", noise(0.2)))
    expect(page.locator(CARDS)).to_contain_text("short.wav")
    expect(page.locator(".song")).to_have_count(1)
    expect(page.get_by_text("Dieser Browser behält diese Liste nicht.")).to_be_visible()


def test_a_refusal_stays_until_the_next_attempt(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "refused.wav", noise(0.2)))
    page.add_init_script(LOOK)
    refused = {"code": "queue_full", "error": "The queue is full."}
    page.route("**/process/**", lambda route: route.fulfill(status=429, json=refused))
    page.goto(f"/studio/{file_id}")
    page.get_by_role("button", name="Separate").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_have_text("The queue is full.")
    with page.expect_response("**/status/*"):
        page.evaluate("look()")
    # By the end of a later request the page has read the status.
    page.evaluate("fetch('/health').then((answer) => answer.text())")
    expect(refusal).to_have_text("The queue is full.")


@pytest.mark.slow
def test_a_keyboard_undoes_a_deletion(page: Page, studio: Server) -> None:
    file_id = show_upload(page, studio, "keyboard.wav")
    delete, undo = (page.get_by_role("button", name=name) for name in ("Delete", "Undo"))
    delete.press("Enter")
    expect(undo).to_be_focused()
    # Whoever is there has all the time.
    page.evaluate("endUndo()")
    undo.press("Enter")
    expect(page.locator(CARDS).get_by_role("link", name="keyboard.wav")).to_be_focused()
    assert studio.get(f"/status/{file_id}").status_code == 200
    busy = {"code": "overloaded", "error": "The server is busy."}
    page.route("**/cleanup/*", lambda route: route.fulfill(status=503, json=busy))
    delete.press("Enter")
    expect(undo).to_be_focused()
    undo.evaluate("(button) => button.blur()")
    page.evaluate("endUndo()")
    expect(page.locator(CARDS).get_by_role("alert")).to_have_text("The server is busy.")


@pytest.mark.slow
def test_deleting_can_be_undone_until_it_is_final(page: Page, studio: Server) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    file_id = show_upload(page, studio, f"{'a_long_name_' * 15}.wav")
    kept = [f"studio.{name}.{file_id}" for name in ("draft", "offset")]
    page.evaluate("(keys) => keys.forEach((key) => localStorage.setItem(key, '1'))", kept)
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(CARDS)).to_have_count(0)
    assert_usable(page)
    expect(page.get_by_role("button", name="Undo")).to_be_in_viewport(ratio=1)
    # On a phone, the message can be under the pointer, and then it stays.
    page.set_viewport_size(DESKTOP)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(CARDS)).to_have_count(1)
    assert studio.get(f"/status/{file_id}").status_code == 200
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(CARDS)).to_have_count(0)
    with page.expect_response(lambda answer: "/cleanup/" in answer.url):
        page.evaluate("endUndo()")
    assert studio.get(f"/status/{file_id}").status_code == 404
    until(page, f"{json.dumps(kept)}.every((key) => localStorage.getItem(key) === null)")


@pytest.mark.slow
def test_a_deleted_file_is_shown_as_gone(page: Page) -> None:
    remember(page, [{"id": "0" * 32, "name": "lost.mp3", "addedMs": 1, "durationS": 1}])
    page.goto("/studio")
    expect(page.locator(CARDS)).to_contain_text("no longer on the server")
    assert_usable(page)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror='window.hit=1'>.wav", "\u202egnp.wav", "歌曲 \u200f שיר.wav"]
)
def test_file_names_are_only_text(page: Page, song: Song, name: str) -> None:
    remember(page, [record(song, name)])
    page.goto("/studio")
    expect(page.locator(CARDS).locator("h3")).to_have_text(name)
    assert page.evaluate("window.hit") is None


@pytest.mark.slow
def test_a_long_history_is_shown_in_parts(page: Page, song: Song) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    remember(page, [{**record(song, f"{n}.wav"), "id": f"{n:032x}"} for n in range(500)])
    page.goto("/studio")
    expect(page.locator(CARDS).first).to_contain_text("no longer on the server")
    expect(page.locator(CARDS)).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(CARDS)).to_have_count(100)
    assert len([url for url in asked if "/status/" in url]) < 50
    page.get_by_role("searchbox").fill("499")
    expect(page.locator(CARDS)).to_have_count(1)


@pytest.mark.slow
def test_a_long_list_is_as_it_was_left(page: Page, song: Song) -> None:
    remember(page, [{**record(song, f"{n}.wav"), "id": f"{n:032x}"} for n in range(120)])
    page.goto("/studio")
    more = page.get_by_role("button", name="Show more")
    more.press("Enter")
    expect(page.locator(CARDS)).to_have_count(100)
    expect(more).to_be_focused()
    more.press("Enter")
    expect(page.locator("li:focus")).to_contain_text("100.wav")
    search = page.get_by_role("searchbox")
    search.fill("11")
    expect(page.locator(CARDS)).to_have_count(11)
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
    page.go_back()
    expect(search).to_have_value("11")
    expect(page.locator(CARDS)).to_have_count(11)
    search.fill("")
    expect(page.locator(CARDS)).to_have_count(120)


@pytest.mark.slow
def test_the_language_is_kept(page: Page) -> None:
    page.goto("/studio")
    page.get_by_label("Language").select_option("de")
    expect(page.get_by_role("heading", name="Songs hier ablegen")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Songs hier ablegen")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "de"


@pytest.mark.slow
def test_links_work_where_the_browser_allows_no_new_address(page: Page) -> None:
    """Safari limits their number."""
    page.add_init_script(
        "history.pushState = () => { throw new DOMException('', 'SecurityError'); }"
    )
    page.goto("/studio")
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scroll(page: Page, song: Song) -> None:
    remember(page, [record(song, "a very long name of a song " * 5)])
    page.set_viewport_size(PHONE)
    for path in ("/studio", f"/studio/{song.file_id}"):
        page.goto(path)
        expect(page.locator("main button").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sizes = page.evaluate(
            "[...document.querySelectorAll('button, .button, nav a, select')]"
            ".map((one) => one.getBoundingClientRect()).filter((box) => box.width > 0)"
            ".map((box) => Math.min(box.width, box.height))"
        )
        assert min(sizes) >= 44
