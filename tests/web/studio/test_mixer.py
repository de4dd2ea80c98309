"""The mixer: what is heard follows the switches, the speed, the key and the loop."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, Position, Route, expect

from tests.support.browser import hold_requests
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.studio_page import LEVEL, LOUD, PITCH, SILENT, STEMS, mute
from tests.web.studio.conftest import TONE_HZ, Song, until

pytestmark = pytest.mark.browser
# No frames are drawn in the background; what becomes of the end of the loop is noted.
BACKGROUND = """
window.requestAnimationFrame = () => 0;
window.ends = [];
const Player = window.Audio;
window.Audio = function (...more) {
  const media = new Player(...more);
  for (const name of ["seeking", "ended"]) media.addEventListener(name, () => ends.push(name));
  return media;
};
"""
# As in Safari: sound starts only in the task of a click; a call holds the audio context back.
STRICT = """
window.isClicked = false;
addEventListener("click", () => {
  isClicked = !window.isStrict;
  setTimeout(() => { isClicked = false; });
}, true);
const start = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (isClicked) return start.call(this);
  return Promise.reject(new DOMException("It needs a gesture.", "NotAllowedError"));
};
AudioContext.prototype.resume = () => new Promise(() => {});
"""


def play(page: Page, song: Song, query: str = "") -> None:
    """Play the song in a loop, so that it goes on while a slow machine measures."""
    page.goto(f"/studio/{song.file_id}?from=1&to=7{query}")
    page.get_by_role("button", name="Play").click()
    until(page, f"window.heard && ({LEVEL})() > {LOUD}")


def test_what_is_muted_is_not_heard(page: Page, song: Song) -> None:
    play(page, song)
    mute(page, *STEMS)
    until(page, f"({LEVEL})() < {SILENT}")
    until(page, "location.search.includes('mute=drums%2Cbass%2Cother%2Cvocals')")
    mute(page, *STEMS)
    until(page, f"({LEVEL})() > {LOUD}")
    until(page, "!location.search.includes('mute')")


def test_a_song_of_which_only_the_vocals_were_separated_can_be_separated(
    page: Page, studio: Server, tmp_path: Path
) -> None:
    file_id = studio.upload(write_wav(tmp_path / "song.wav", noise(1.0)))
    assert studio.process(file_id, "whisper", source="vocals").status_code == 202
    assert studio.wait(file_id)["tracks"] == [
        "transcription",
        "vocals",
        "no_vocals",
        "instrumental",
    ]
    page.goto(f"/studio/{file_id}/karaoke")
    expect(page.get_by_role("button", name="Prepare karaoke")).to_be_enabled()
    page.goto(f"/studio/{file_id}")
    page.get_by_role("button", name="Separate").click()
    for stem in STEMS:
        expect(page.get_by_role("button", name=f"Mute {stem}")).to_be_visible()
    page.goto(f"/studio/{file_id}/karaoke")
    expect(page.get_by_role("slider", name="Guide vocals")).to_be_visible()


def test_the_first_press_plays_in_safari(page: Page, song: Song) -> None:
    page.add_init_script(STRICT)
    play(page, song)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.slow
def test_blocked_playback_is_reported(page: Page, song: Song) -> None:
    page.add_init_script(STRICT)
    page.goto(f"/studio/{song.file_id}?from=1&to=7")
    page.evaluate("window.isStrict = true")
    page.get_by_role("button", name="Play").click()
    blocked = page.get_by_role("alert")
    expect(blocked).to_have_text("The browser blocked playback. Press Play again.")
    page.evaluate("window.isStrict = false")
    page.get_by_role("button", name="Play").click()
    until(page, f"window.heard && ({LEVEL})() > {LOUD}")
    expect(blocked).to_be_hidden()


def test_the_address_brings_the_mix_back(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}?mute=bass&volume.drums=0.5&pan.other=-1&key=3&speed=0.8")
    expect(page.get_by_role("button", name="Mute Bass")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Volume of Drums")).to_have_value("0.5")
    expect(page.get_by_label("Balance of Other")).to_have_value("-1")
    expect(page.get_by_role("slider", name="Key")).to_have_value("3")
    expect(page.get_by_role("slider", name="Speed")).to_have_value("0.8")


@pytest.mark.slow
def test_the_speed_leaves_the_pitch(page: Page, song: Song) -> None:
    play(page, song, "&speed=0.75")
    until(page, f"Math.abs(({PITCH})() / {TONE_HZ} - 1) < 0.01")


@pytest.mark.slow
def test_the_key_moves_the_pitch(page: Page, song: Song) -> None:
    play(page, song, "&key=2")
    until(page, f"Math.abs(({PITCH})() / {TONE_HZ} - 2 ** (2 / 12)) < 0.01")


@pytest.mark.slow
def test_a_key_that_could_not_be_changed_is_tried_again(page: Page, song: Song) -> None:
    page.route("**/signalsmith-stretch*", lambda route: route.abort())
    page.goto(f"/studio/{song.file_id}?from=1&to=7&key=1")
    problem = page.get_by_text("The key could not be changed.")
    expect(problem).to_be_visible()
    page.unroute("**/signalsmith-stretch*")
    page.get_by_role("slider", name="Key").press("ArrowRight")
    expect(problem).to_be_hidden()
    page.get_by_role("button", name="Play").click()
    until(page, f"window.heard && Math.abs(({PITCH})() / {TONE_HZ} - 2 ** (2 / 12)) < 0.01")


@pytest.mark.slow
def test_a_loop_holds_in_the_background(page: Page, song: Song) -> None:
    page.add_init_script(BACKGROUND)
    page.goto(f"/studio/{song.file_id}?from=0&to=2")
    page.get_by_role("button", name="Play").click()
    until(page, "ends.length > 0")
    assert page.evaluate("ends[0]") == "seeking"


@pytest.mark.slow
def test_the_key_needs_a_secure_page(page: Page, studio: Server, song: Song) -> None:
    """A page of another machine over plain http has no audio worklets."""
    host = "http://studio.example"

    def forward(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(host, studio.url)))

    page.route(f"{host}/**", forward)
    page.route(f"{host}/socket.io/**", lambda route: route.abort())
    page.goto(f"{host}/studio/{song.file_id}?key=2")
    expect(page.get_by_text("change the key only on https:// pages")).to_be_visible()


@pytest.mark.slow
def test_the_keyboard_alone_is_enough(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.keyboard.press("Space")
    until(page, f"window.heard && ({LEVEL})() > {LOUD}")
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Mute Bass")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Shift+1")
    expect(page.get_by_role("button", name="Only Drums")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator("[data-clock]")).to_have_text("0:00")
    position = page.get_by_role("slider", name="Position")
    position.press("ArrowRight")
    expect(position).to_have_attribute("aria-valuetext", "0:05")
    position.press("Home")
    expect(page.locator("[data-clock]")).to_have_text("0:00")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-clock]")).to_have_text("0:05")
    page.keyboard.press("b")
    until(page, "location.search.includes('to=5')")
    page.keyboard.press("l")
    until(page, "!location.search.includes('to=')")


@pytest.mark.slow
def test_a_drag_makes_a_loop_and_a_click_seeks(page: Page, song: Song) -> None:
    """Before the sound is loaded, too: a slow connection loses no click."""
    held = hold_requests(page, "**/stems.flac")
    page.goto(f"/studio/{song.file_id}")
    clock = page.locator("[data-clock]")
    wave = page.locator(".wave").first
    box = wave.bounding_box()
    assert box is not None
    quarter: Position = {"x": box["width"] / 4, "y": 20}
    middle: Position = {"x": box["width"] / 2, "y": 20}
    wave.click(position=middle)
    expect(clock).to_have_text("0:04")
    wave.drag_to(wave, source_position=quarter, target_position=middle)
    until(page, "/from=2.*to=4/.test(location.search)")
    expect(clock).to_have_text("0:02")
    assert held
    held.release()
    wave.click(position={"x": box["width"] * 3 / 4, "y": 20})
    expect(clock).to_have_text("0:06")
    wave.drag_to(wave, source_position=middle, target_position=quarter)
    expect(clock).to_have_text("0:02")
    page.get_by_role("button", name="Play").click()
    until(page, f"window.heard && ({LEVEL})() > {LOUD}")


@pytest.mark.slow
def test_a_swipe_that_scrolls_the_page_leaves_the_loop(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}?from=1&to=3")
    expect(page.locator(".wave").first).to_be_visible()
    point = """([type, pointerId, clientX]) =>
    document.querySelector("[data-stem=drums] .time").dispatchEvent(new PointerEvent(
    type, { pointerId, clientX, isPrimary: pointerId === 7, bubbles: true }))"""
    # `--at` is set meanwhile.
    loop = """["--from", "--to"].map((name) =>
    document.querySelector(".lanes").style.getPropertyValue(name)).join()"""
    before = f"{loop} === '0.125,0.375'"
    assert page.evaluate(before)
    for second in (("pointerdown", 8, 700), ("pointermove", 8, 900)):
        page.evaluate(point, second)
    page.evaluate(point, ("pointerdown", 7, 700))
    page.evaluate(point, ("pointermove", 8, 900))
    assert page.evaluate(before)
    page.evaluate(point, ("pointermove", 7, 800))
    until(page, f"!({before})")
    page.evaluate(point, ("pointercancel", 7, 800))
    until(page, before)
    page.evaluate(point, ("pointermove", 7, 900))
    until(page, before)


@pytest.mark.slow
def test_a_song_can_be_separated_from_its_own_address(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "apart.wav", noise(2)))
    page.goto(f"/studio/{file_id}")
    page.get_by_role("button", name="Separate").click()
    expect(page.locator(".lane")).to_have_count(len(STEMS))


@pytest.mark.slow
def test_waveforms_are_drawn(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}")
    until(
        page,
        """[...document.querySelectorAll("canvas.wave")].some((canvas) =>
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
        .data.some((value) => value > 0))""",
    )
