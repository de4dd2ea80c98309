"""From a song to a karaoke video, with the mouse alone and with the keyboard alone."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.sounds import SONG

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SONG_FILE = SONG / "mixture.flac"
# Two jobs on a busy machine.
WORK_MS = 120_000
MAX_TABS = 60


def click(_page: Page, target: Locator) -> None:
    target.click()


def press(page: Page, target: Locator) -> None:
    """Move the focus there with the Tab key, and press Enter."""
    handle = target.element_handle()
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("(element) => document.activeElement === element", handle):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"the Tab key does not lead to {target}")


@pytest.mark.parametrize("use", [click, press], ids=["mouse", "keyboard"])
def test_a_song_becomes_a_karaoke_video(page: Page, use: object) -> None:
    assert callable(use)
    page.goto("/")
    with page.expect_file_chooser() as chooser:
        use(page, page.get_by_role("button", name="Choose files"))
    chooser.value.set_files(SONG_FILE)
    card = page.locator(".song[data-id]")
    lyrics = card.get_by_role("button", name="Lyrics")
    expect(lyrics).to_be_enabled()
    use(page, lyrics)
    karaoke = card.get_by_role("link", name="Karaoke")
    expect(karaoke).to_be_visible(timeout=WORK_MS)
    use(page, karaoke)
    video = page.get_by_role("button", name="Video (MP4)")
    expect(video).to_be_visible()
    with page.expect_download() as download:
        use(page, video)
    assert download.value.suggested_filename.endswith(".mp4")
    assert b"ftyp" in Path(download.value.path()).read_bytes()[:16]
