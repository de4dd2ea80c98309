"""The API reference: code in three languages, and operations that are tried in place."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, assert_usable, fits, until
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

pytestmark = pytest.mark.browser


def test_an_operation_is_tried_in_place(page: Page, studio: Server) -> None:
    path = write_wav(studio.folder / "tried.wav", noise(0.5))
    page.goto("/docs#upload_file")
    form = page.locator("#upload_file form")
    form.get_by_label("file").set_input_files(path)
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".answer")).to_contain_text("201")
    sent = re.search(r'"file_id": "(\w+)"', form.locator(".answer pre").inner_text())
    assert sent is not None
    page.goto("/docs#get_status")
    form = page.locator("#get_status form")
    form.get_by_label("file_id").fill(sent[1])
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".answer")).to_contain_text('"status": "uploaded"')
    form.get_by_label("file_id").fill("none")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".answer .bad")).to_contain_text("404")
    expect(form.locator(".answer pre")).to_contain_text("unknown_file")


@pytest.mark.slow
def test_a_query_is_sent_by_browsers_that_do_not_count_its_parts(page: Page) -> None:
    """Safari 16."""
    page.add_init_script("delete URLSearchParams.prototype.size")
    page.goto("/docs#get_status")
    form = page.locator("#get_status form")
    form.get_by_label("file_id").fill("none")
    form.get_by_label("partial_from").fill("0")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".answer")).to_contain_text("/status/none?partial_from=0")


@pytest.mark.slow
def test_the_language_of_the_code_is_kept(page: Page, studio: Server) -> None:
    page.goto("/docs#check_health")
    code = page.locator("#check_health pre.code:visible")
    expect(code).to_have_text(f"curl {studio.url}/health", use_inner_text=True)
    page.get_by_role("button", name="JavaScript").click()
    expect(code).to_contain_text(f'fetch("{studio.url}/health")')
    # The code runs as it stands, in a page of the server.
    text = code.inner_text().replace("console.log(", "return (")
    assert "healthy" in page.evaluate(f"async () => {{ {text} }}")
    page.reload()
    expect(code).to_contain_text("fetch(")


@pytest.mark.slow
def test_it_speaks_the_language_of_the_studio(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()
    page.get_by_label("Language", exact=True).select_option("de")
    expect(page.get_by_role("heading", name="Fehler")).to_be_visible()
    expect(page.get_by_text("sind englisch")).to_be_visible()
    untranslated = "[...document.querySelectorAll('[data-word]:not([lang=de])')]"
    assert page.evaluate(f"{untranslated}.map((one) => one.dataset.word)") == []
    page.set_viewport_size(PHONE)
    assert fits(page)
    page.goto("/studio")
    expect(page.get_by_role("heading", name="Songs hier ablegen")).to_be_visible()


def test_everybody_can_use_it_on_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto("/docs")
    opened = "['check_health', 'upload_file', 'start_job', 'download_mix', 'live-transcribe']"
    page.evaluate(f"{opened}.forEach((id) => {{ document.getElementById(id).open = true; }})")
    until(page, "document.querySelectorAll('details[open]').length === 5")
    assert_usable(page)
    # Only colours differ in the dark, and all operations have the same.
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found = page.evaluate("axe.run('#upload_file', {runOnly: ['color-contrast']})")
    assert found["violations"] == []
    assert found["passes"]
