"""Karaoke: words swept in time, what can be set, and how it is made."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.server import Server
from tests.support.sounds import SONG
from tests.support.studio_page import LINE, NEXT, SWEPT
from tests.web.studio.conftest import Song, until

pytestmark = pytest.mark.browser
# What is sung in the sample song.
LYRICS = [
    "yellow ever day shine", "ever now shine yellow", "now day now day", "luna slow",
    "maybe day amor ever", "slow",
]  # fmt: skip
PLAY_AND_PAUSE = """async () => {
  const button = (name) =>
    [...document.querySelectorAll("button")].find((one) =>
      [one.ariaLabel, one.textContent.trim()].includes(name));
  button("Play this line").click();
  while (!button("Pause")) await new Promise(requestAnimationFrame);
  button("Pause").click();
}"""


def test_words_are_swept_in_time(page: Page, studio: Server, sung: Song) -> None:
    studio.edit(sung.file_id, [LINE, NEXT])
    page.goto(f"/studio/{sung.file_id}/karaoke?t=4.5&guide=10")
    expect(page.locator(".sung")).to_have_text("one two")
    expect(page.locator(".soon")).to_have_text("three")
    until(page, f"Math.abs({SWEPT}[0] - 0.5) < 0.01 && {SWEPT}[1] === 0")
    page.get_by_role("button", name="50 ms later").click()
    until(page, f"Math.abs({SWEPT}[0] - 0.45) < 0.01")
    page.reload()
    until(page, f"Math.abs({SWEPT}[0] - 0.45) < 0.01")
    expect(page.get_by_role("slider", name="Guide vocals")).to_have_value("0.1")

    page.emulate_media(reduced_motion="reduce")
    until(page, f"{SWEPT}[0] === 1 && {SWEPT}[1] === 0")
    page.keyboard.press("Space")
    until(page, "document.querySelector('.sung').textContent.trim() === 'three'")

    with page.expect_download() as download:
        page.get_by_role("link", name="LRC").first.click()
    assert "[00:04.05]" in download.value.path().read_text("utf-8")


@pytest.mark.slow
def test_a_word_is_moved_with_the_mouse(page: Page, studio: Server, sung: Song) -> None:
    studio.edit(sung.file_id, [LINE, NEXT])
    page.goto(f"/studio/{sung.file_id}/karaoke?t=4")
    page.get_by_text("Adjust words").click()
    block = page.get_by_role("slider", name="two")
    # This waits until the page no longer moves.
    block.hover()
    box = block.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y)
    with page.expect_response(lambda answer: answer.request.method == "PUT") as put:
        page.mouse.up()
    assert put.value.status == 200
    address = f"/download/{sung.file_id}/transcription?format=json"
    words = studio.get(address).json()["segments"][0]["words"]
    assert [words[0]["end_s"], words[1]["start_s"]] == pytest.approx([5.0, 5.25], abs=0.02)
    block.press("ArrowLeft")
    expect(block).to_have_attribute("aria-valuetext", "5.23 to 6.23 seconds")


@pytest.mark.slow
def test_a_line_that_is_played_does_not_stop_the_song_later(
    page: Page, studio: Server, sung: Song
) -> None:
    studio.edit(sung.file_id, [LINE])
    page.goto(f"/studio/{sung.file_id}/karaoke?t=4")
    page.get_by_text("Adjust words").click()
    position = "Number(document.querySelector('.seek').value)"
    play = page.get_by_role("button", name="Play", exact=True)
    expect(play).to_be_visible()
    page.evaluate(PLAY_AND_PAUSE)
    play.click()
    until(page, f"{position} > 7")
    # Otherwise it stops soon after its end, also if the song is past it.
    page.get_by_role("button", name="Play this line").click()
    expect(play).to_be_visible()
    assert 6 < page.evaluate(position) < 12


@pytest.mark.slow
def test_lines_that_follow_immediately_are_chosen_one_by_one(
    page: Page, studio: Server, sung: Song
) -> None:
    """A line stays on the stage for a moment, but not when the next one is requested."""
    words = ["one", "two", "three", "four"]
    lines = [
        {"start_s": n + 1.0, "end_s": n + 1.95, "text": f" {word}", "words": []}
        for n, word in enumerate(words)
    ]
    studio.edit(sung.file_id, lines)
    page.goto(f"/studio/{sung.file_id}/karaoke?t=1.5")
    page.get_by_text("Adjust words").click()
    page.get_by_role("button", name="50 ms later").click()
    shown = page.locator(".sung")
    for word in words[1:]:
        page.get_by_role("button", name="Next line").click()
        expect(shown).to_have_text(word)
    for word in words[-2::-1]:
        page.get_by_role("button", name="Previous line").click()
        expect(shown).to_have_text(word)


@pytest.mark.slow
def test_a_key_leaves_the_full_window_where_no_full_screen_is_allowed(
    page: Page, studio: Server, sung: Song
) -> None:
    page.add_init_script("Element.prototype.requestFullscreen = () => Promise.reject()")
    studio.edit(sung.file_id, [LINE])
    page.goto(f"/studio/{sung.file_id}/karaoke")
    expect(page.get_by_role("button", name="Full screen")).to_be_visible()
    for count in (1, 0, 1):
        page.keyboard.press("f")
        expect(page.locator(".karaoke.full")).to_have_count(count)


@pytest.mark.slow
def test_brackets_of_all_keyboards_move_the_words(page: Page, studio: Server, sung: Song) -> None:
    """German ones have them only with AltGr, or with Option on a Mac."""
    studio.edit(sung.file_id, [LINE])
    page.goto(f"/studio/{sung.file_id}/karaoke")
    offset = page.locator(".offset output")
    expect(offset).to_contain_text("on time")
    press = "(keys) => dispatchEvent(new KeyboardEvent('keydown', keys))"
    alt_gr = {"ctrlKey": True, "altKey": True, "modifierAltGraph": True}
    for key, modifiers in (("]", {"altKey": True}), ("]", alt_gr), ("]", {"ctrlKey": True})):
        page.evaluate(press, {"key": key, **modifiers})
    expect(offset).to_contain_text("100 ms later")
    page.evaluate(press, {"key": "[", **alt_gr})
    expect(offset).to_contain_text("50 ms later")


@pytest.mark.slow
def test_pasted_lyrics_are_put_in_time(page: Page, studio: Server, sung: Song) -> None:
    studio.edit(sung.file_id, [LINE, NEXT])
    page.goto(f"/studio/{sung.file_id}/karaoke")
    page.get_by_text("Use known lyrics").click()
    page.get_by_label("Lyrics").fill("\n".join(LYRICS))
    # As after an API key was entered.
    page.reload()
    align = page.get_by_role("button", name="Align lyrics")
    # The server has them, but not their times: the job may still fail.
    failed = {"job_id": "f" * 32}
    page.route("**/process/whisper/*", lambda route: route.fulfill(status=202, json=failed))
    align.click()
    until(
        page, f"Object.values(sessionStorage).some((kept) => kept.includes('{failed['job_id']}'))"
    )
    page.unroute("**/process/whisper/*")
    page.reload()
    align.click()
    expect(page.locator(".sung")).to_have_text(LYRICS[0])
    expect(page.locator(".soon")).to_have_text(LYRICS[1])
    expect(page.get_by_label("Lyrics")).to_have_value("")


@pytest.mark.slow
def test_one_button_makes_the_stems_and_the_words(page: Page, studio: Server) -> None:
    file_id = studio.upload(SONG / "mixture.flac", "fresh.flac")
    page.goto(f"/studio/{file_id}/karaoke")
    page.get_by_role("button", name="Prepare karaoke").click()
    expect(page.locator(".sung-word").first).to_be_visible()
    page.get_by_role("button", name="Full screen").click()
    until(page, "document.fullscreenElement?.className.includes('karaoke')")
    page.get_by_role("button", name="Exit full screen").click()
    until(page, "document.fullscreenElement === null")
    with page.expect_download() as download:
        page.get_by_role("button", name="Video (MP4)").click()
    assert download.value.path().read_bytes()[4:8] == b"ftyp"
