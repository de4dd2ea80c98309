"""The dialog that asks for an API key, on a server that has some."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import assert_usable, new_context
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

pytestmark = pytest.mark.browser
KEY = "page-0123456789%[abc]"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    server = Server(folder, API_KEYS=KEY, MAX_CLIENT_BYTES=10**9, MAX_CLIENT_MINUTES=60).start()
    yield server
    server.stop_later()


def test_a_key_opens_the_page(locked: Server, chromium: Browser) -> None:
    path = write_wav(locked.folder / "song.wav", noise(0.2))
    with path.open("rb") as file:
        sent = locked.post("/upload", files={"file": file}, headers={"X-API-Key": KEY}).json()
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto(f"/studio/{sent['file_id']}")
        dialog = page.get_by_role("dialog")
        for wrong in ("wrong-0123456789", "Schlüssel-0123456789"):
            dialog.get_by_label("API key").fill(wrong)
            dialog.get_by_role("button").click()
            expect(dialog.get_by_role("alert")).to_contain_text("not valid")
        assert_usable(page)
        dialog.get_by_label("API key").fill(KEY)
        dialog.get_by_role("button").click()
        expect(page.get_by_role("heading", name="song.wav")).to_be_visible()
        expect(dialog).to_be_hidden()


@pytest.mark.slow
def test_an_upload_waits_for_the_key(locked: Server, chromium: Browser) -> None:
    path = write_wav(locked.folder / "waiting.wav", noise(0.2))
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto("/studio")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.set_input_files("#files", path)
        dialog.get_by_label("API key").fill(KEY)
        dialog.get_by_role("button").click()
        expect(page.locator(".song[data-id]").first).to_contain_text("waiting.wav")
        expect(dialog).to_be_hidden()


@pytest.mark.slow
def test_jobs_are_followed_as_whoever_has_signed_in(locked: Server, chromium: Browser) -> None:
    """Also if the page is not loaded again, because of an upload."""
    path = write_wav(locked.folder / "followed.wav", noise(0.2))
    with path.open("rb") as file:
        locked.post("/upload", files={"file": file}, headers={"X-API-Key": KEY})
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto("/studio")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("API key").fill(KEY)
        with page.expect_websocket():
            dialog.get_by_role("button").click()
        expect(page.locator(".song[data-id]").first).to_contain_text("followed.wav")
        context.clear_cookies()
        page.set_input_files("#files", path)
        dialog.get_by_label("API key").fill(KEY)
        page.evaluate("window.isSame = true")
        with page.expect_websocket():
            dialog.get_by_role("button").click()
        expect(dialog).to_be_hidden()
        assert page.evaluate("window.isSame")


@pytest.mark.slow
def test_a_prompt_outlives_its_session(locked: Server, chromium: Browser) -> None:
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto("/studio/music")
        dialog = page.get_by_role("dialog")
        prompt = page.get_by_label("Describe the music")
        for number in range(2):
            dialog.get_by_label("API key").fill(KEY)
            # The page begins anew.
            with page.expect_event("load"):
                dialog.get_by_role("button").click()
            if number == 0:
                prompt.fill("calm piano")
                context.clear_cookies()
                page.get_by_role("button", name="Make music").click()
        expect(prompt).to_have_value("calm piano")


@pytest.mark.slow
def test_what_is_being_deleted_is_not_listed(locked: Server, chromium: Browser) -> None:
    ids = []
    for name in ("kept", "deleted"):
        with write_wav(locked.folder / f"{name}.wav", noise(0.2)).open("rb") as file:
            sent = locked.post("/upload", files={"file": file}, headers={"X-API-Key": KEY})
        ids.append(sent.json()["file_id"])
    due = f"localStorage.setItem('studio.deleting', '{{\"{ids[1]}\": {10**15}}}')"
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.add_init_script(due)
        page.goto("/studio")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("API key").fill(KEY)
        dialog.get_by_role("button").click()
        expect(page.locator(f"[data-id='{ids[0]}']")).to_be_visible()
        expect(page.locator(f"[data-id='{ids[1]}']")).to_have_count(0)


@pytest.mark.slow
def test_the_list_is_that_of_the_key(locked: Server, chromium: Browser) -> None:
    """The newest page of the server's list has prompts for music only."""
    path = write_wav(locked.folder / "listed.wav", noise(0.2))
    for number in range(52):
        with path.open("rb") as file:
            files = {"file": (f"number {number}.wav", file)}
            locked.post("/upload", files=files, headers={"X-API-Key": KEY})
    for number in range(50):
        prompt = {"file": (f"prompt {number}.txt", b"calm piano")}
        locked.post("/upload", files=prompt, headers={"X-API-Key": KEY})
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto("/studio")
        page.get_by_role("textbox", name="API key").fill(KEY)
        page.get_by_role("dialog").get_by_role("button").click()
        cards = page.locator(".song[data-id]")
        expect(cards.first).to_contain_text("number 51.wav")
        expect(cards).to_have_count(50)
        expect(page.get_by_text("Used:")).to_contain_text("of 1.0 GB, 0 of 60 minutes")
        page.get_by_role("button", name="Show more").click()
        expect(page.get_by_text("number 0.wav")).to_be_visible()
        assert page.evaluate("localStorage.getItem('studio.songs')") is None


@pytest.mark.slow
def test_the_live_test_page_asks_for_a_key_too(locked: Server, chromium: Browser) -> None:
    with new_context(chromium, base_url=locked.url, locale="en-GB") as context:
        page = context.new_page()
        page.goto("/websocket-test.html")
        page.click("#connect")
        expect(page.locator("#errors")).to_contain_text("requires an API key")
        expect(page.locator("#connect")).to_have_text("Connect")
        page.fill("#key", KEY)
        page.click("#connect")
        expect(page.locator("#state")).to_contain_text("Connected.")
        expect(page.locator("#errors")).to_be_empty()
