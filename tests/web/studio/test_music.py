"""The page that makes music: from a description to players, files and the mixer."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, assert_usable, hold_requests, until
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

pytestmark = pytest.mark.browser
MUSIC = "/studio/music"
TUNE = ".song[data-id]"


def describe(page: Page, prompt: str, duration_s: int = 1, variant: str = "mini") -> None:
    page.goto(MUSIC)
    page.get_by_label("Model").select_option(variant)
    page.get_by_label("Describe the music").fill(prompt)
    page.get_by_label("Duration").fill(str(duration_s))


def make(page: Page) -> None:
    page.get_by_role("button", name="Make music").click()


@pytest.mark.slow
def test_a_sentence_becomes_music_and_the_music_a_song(page: Page) -> None:
    describe(page, "a slow piano tune, with drums")
    page.get_by_label("Variations").select_option("2")
    page.get_by_label("Seed").fill("7")
    make(page)
    players = page.locator(f"{TUNE} audio")
    expect(players).to_have_count(2)
    expect(page.get_by_role("heading", name="Variation 2")).to_contain_text("0:01")
    # Nothing is loaded before somebody plays it.
    assert page.evaluate("document.querySelectorAll('audio')[1].readyState") == 0
    page.evaluate("document.querySelectorAll('audio')[1].play()")
    until(page, "document.querySelectorAll('audio')[1].duration > 0.9")
    assert page.evaluate("document.querySelectorAll('audio')[1].duration") < 1.1
    expect(page.locator(TUNE)).to_contain_text("Seed 7")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download Variation 2 as MP3").click()
    assert download.value.suggested_filename == "a slow piano tune with drums - music_2.mp3"
    page.reload()
    expect(players).to_have_count(2)
    page.get_by_role("button", name="Use again").click()
    expect(page.get_by_label("Describe the music")).to_have_value("a slow piano tune, with drums")
    expect(page.get_by_label("Seed")).to_have_value("7")
    page.get_by_role("button", name="Separate this").first.click()
    expect(page.get_by_role("heading", name="a slow piano tune with drums.flac")).to_be_visible()
    expect(page.locator(".lane")).to_have_count(4)
    # Someone who has left the page meanwhile is not taken elsewhere.
    page.goto(MUSIC)
    held = hold_requests(page, "**/upload")
    page.get_by_role("button", name="Separate this").first.click()
    page.get_by_role("link", name="Live").click()
    while not held:
        page.evaluate("fetch('/health').then((answer) => answer.text())")
    # The last request before the mixer would open.
    with page.expect_response("**/status/*"):
        for route in held:
            route.continue_()
    page.evaluate("new Promise((done) => setTimeout(done, 300))")
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
    page.goto(MUSIC)
    page.get_by_role("button", name="Delete").click()
    # The question goes away by itself, so the click does not wait until nothing moves.
    page.get_by_role("button", name="Delete permanently?").dispatch_event("click")
    expect(page.locator(TUNE)).to_have_count(0)


@pytest.mark.slow
def test_the_words_of_the_bundled_model_are_enough(page: Page) -> None:
    describe(page, "")
    words = page.get_by_role("group", name="Words that this model knows")
    prompt = page.get_by_label("Describe the music")
    for phrase in ("organ", "guitar", "slow", "sad", "low register", "with drums"):
        words.get_by_role("button", name=phrase, exact=True).click()
        expect(words.get_by_role("button", name=phrase, exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )
    expect(prompt).to_have_value("guitar, slow, sad, low register, with drums")
    words.get_by_role("button", name="sad", exact=True).click()
    expect(prompt).to_have_value("guitar, slow, low register, with drums")
    for button in words.get_by_role("button").all():
        button.click()
        expect(page.locator(".warn")).to_be_empty()
    page.get_by_text("Examples").click()
    for example in page.locator(".example").all():
        example.click()
        expect(page.locator(".warn")).to_be_empty()
    prompt.fill("Slow trumpet, 你好")
    expect(page.locator(".warn")).to_have_text("The model does not know: trumpet, 你好")


@pytest.mark.slow
def test_what_a_variant_can_do_is_offered(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "tone.wav", noise(2)))
    record = {"id": file_id, "name": "tone.wav", "addedMs": 1, "durationS": 2}
    page.add_init_script(
        f"localStorage.setItem('studio.songs', {json.dumps(json.dumps([record]))})"
    )
    describe(page, "a tune", variant="melody")
    expect(page.get_by_text("not for commercial use")).to_be_visible()
    expect(page.get_by_role("group", name="Words that this model knows")).to_be_hidden()
    expect(page.get_by_label("Follow the melody of")).to_be_visible()
    page.get_by_label("Model").select_option("mini")
    expect(page.get_by_text("Licence of the weights: MIT")).to_be_visible()
    expect(page.get_by_label("Follow the melody of")).to_be_hidden()
    page.get_by_label("Continue from").select_option("tone.wav")
    make(page)
    # The tone of 2 s comes first.
    expect(page.get_by_role("heading", name="Variation 1")).to_contain_text("0:03")


def test_a_long_list_is_shown_in_parts(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tunes = json.dumps([{"id": f"{n:032x}", "prompt": f"tune {n}"} for n in range(60)])
    page.add_init_script(f"localStorage.setItem('studio.tunes', {json.dumps(tunes)})")
    page.goto(MUSIC)
    expect(page.locator(TUNE)).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(TUNE)).to_have_count(60)
    page.locator(TUNE).first.scroll_into_view_if_needed()
    expect(page.locator(TUNE).first).to_contain_text("no longer on the server")
    assert len([url for url in asked if "/status/" in url]) < 50


@pytest.mark.slow
def test_music_can_be_canceled(page: Page) -> None:
    describe(page, "happy organ", duration_s=300)
    make(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(TUNE)).to_contain_text("Canceled")


@pytest.mark.slow
def test_a_refusal_is_the_server_s_own_sentence(page: Page) -> None:
    describe(page, "{duration: 3")
    make(page)
    expect(page.get_by_role("alert")).to_contain_text("not valid JSON")
    expect(page.locator(TUNE)).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_everybody_can_use_it_on_a_phone(page: Page, scheme: str) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    describe(page, "unknown words " * 20)
    page.get_by_text("Examples").click()
    assert_usable(page)
