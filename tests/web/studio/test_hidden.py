"""Phones end hidden pages without an event: a page that is hidden finishes what is unfinished."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import handle_first, until
from tests.support.server import Server
from tests.support.server import until as happens
from tests.support.sounds import noise, write_wav
from tests.support.studio_page import CARDS, HOLD, LINE, NEXT
from tests.web.studio.conftest import Song

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""
# As if the system ended the page.
NO_LAST_EVENTS = """
for (const kind of ["pagehide", "visibilitychange"]) {
  addEventListener(kind, (event) => event.stopImmediatePropagation(), true);
}
"""
# When a deletion is finished by whichever page, in milliseconds from now.
DUE = """([id, ms]) =>
localStorage.setItem("studio.deleting", JSON.stringify({ [id]: Date.now() + ms }))"""


@pytest.fixture
def file_id(page: Page, studio: Server) -> Iterator[str]:
    """A song of the list, whose deletion waits for `endUndo()`."""
    file_id = studio.upload(write_wav(studio.folder / "unwanted.wav", noise(0.2)))
    page.add_init_script(HOLD)
    page.goto("/studio")
    entry = [{"id": file_id, "name": "unwanted.wav", "addedMs": 1, "durationS": 0.2}]
    page.evaluate("(songs) => localStorage.setItem('studio.songs', JSON.stringify(songs))", entry)
    yield file_id
    studio.delete(f"/cleanup/{file_id}")


def delete(page: Page) -> None:
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def test_a_deletion_is_finished_when_the_page_is_hidden(
    page: Page, studio: Server, file_id: str
) -> None:
    page.reload()
    delete(page)
    page.evaluate(HIDE)
    happens(lambda: studio.get(f"/status/{file_id}").status_code == 404)
    until(page, "localStorage.getItem('studio.deleting') === null")
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()


def test_a_deletion_is_finished_by_the_next_page(page: Page, studio: Server, file_id: str) -> None:
    page.add_init_script(NO_LAST_EVENTS)
    page.reload()
    delete(page)
    # Another page waits while the deletion may be undone.
    page.evaluate(DUE, [file_id, 1e6])
    page.reload()
    expect(page.get_by_text("No songs yet.")).to_be_visible()
    assert studio.get(f"/status/{file_id}").status_code == 200
    # A server that was lost is asked once more.
    page.evaluate(DUE, [file_id, 0])
    aborted = handle_first(page, "**/cleanup/*", Route.abort)
    page.reload()
    until(page, "localStorage.getItem('studio.deleting') === null")
    assert aborted
    assert studio.get(f"/status/{file_id}").status_code == 404


def test_what_is_opened_stays(page: Page, studio: Server, file_id: str) -> None:
    page.add_init_script(NO_LAST_EVENTS)
    page.reload()
    delete(page)
    page.evaluate(DUE, [file_id, 0])
    page.goto(f"/studio/{file_id}")
    until(page, "localStorage.getItem('studio.deleting') === null")
    assert studio.get(f"/status/{file_id}").status_code == 200


def test_what_is_undone_stays(page: Page, studio: Server, file_id: str) -> None:
    page.add_init_script(NO_LAST_EVENTS)
    page.reload()
    delete(page)
    page.get_by_role("button", name="Undo").click()
    page.reload()
    expect(page.locator(CARDS)).to_contain_text("unwanted.wav")
    assert page.evaluate("window.endUndo === undefined")
    assert studio.get(f"/status/{file_id}").status_code == 200


def test_an_open_line_is_kept_when_the_page_is_hidden(
    page: Page, studio: Server, sung: Song
) -> None:
    studio.edit(sung.file_id, [LINE, NEXT])
    page.add_init_script(NO_LAST_EVENTS.replace('"visibilitychange"', ""))
    page.route("**/files/*/transcription", lambda route: route.abort())
    page.goto(f"/studio/{sung.file_id}/transcript")
    page.get_by_role("button", name="Edit the line").nth(1).click()
    page.get_by_role("textbox", name="Line at").fill("not yet saved")
    page.evaluate(HIDE)
    # By now the system may have ended the page.
    draft = page.evaluate("(id) => localStorage.getItem(`studio.draft.${id}`)", sung.file_id)
    assert "not yet saved" in draft
    # The field is removed, which is no reason to write its text once more.
    expect(page.get_by_role("textbox", name="Line at")).to_be_hidden()
    expect(page.locator(".line")).to_contain_text(["one two", "not yet saved"])
