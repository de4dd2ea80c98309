"""The page goes on by itself after a lost server, beside other tabs, and without deleted files."""

import pytest
from playwright.sync_api import Page, Route, WebSocket, expect

from tests.support.browser import assert_usable, handle_first, hold_requests
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.studio_page import CARDS, LEVEL, LINE, LOOK, LOUD, remember
from tests.web.studio.conftest import KEEP_MEDIA, Song, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The first answer with the transcript breaks off.
BREAK = """
const ask = window.fetch;
window.fetch = async (path, ...more) => {
  const answer = await ask(path, ...more);
  if (window.broken || !path.includes("/transcription?format=json")) return answer;
  window.broken = true;
  const breaking = (stream) => {
    stream.enqueue(new TextEncoder().encode('{"text":'));
    stream.error(new TypeError("network error"));
  };
  return new Response(new ReadableStream({ start: breaking }), { headers: answer.headers });
};
"""
# Whether something is drawn on all canvases with a class.
DRAWN = """(name) => {
  const canvases = [...document.querySelectorAll(`canvas.${name}`)];
  return canvases.length > 1 && canvases.every((canvas) => canvas.width > 0 &&
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    .data.some((value) => value > 0));
}"""
# The page is not told of changes in other tabs, as while it is in the back-forward cache.
DEAF = "addEventListener('storage', (event) => event.stopImmediatePropagation());"
BACK = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"
PEAKS = "**/download/*/*format=peaks*"
GERMAN = "localStorage.setItem('studio.language', 'de')"


def settle(page: Page) -> None:
    """By the end of a later request the page has read what it was sent before."""
    page.evaluate("fetch('/health').then((answer) => answer.text())")


def wait_for(page: Page, held: list[Route], count: int) -> None:
    """Wait until so many requests are held."""
    while len(held) < count:
        settle(page)


def show_uploads(page: Page, studio: Server, count: int) -> list[str]:
    """Put so many uploads into the history of the browser; their IDs."""
    path = write_wav(studio.folder / "listed.wav", noise(1))
    ids = [studio.upload(path) for _ in range(count)]
    remember(
        page,
        [
            {"id": one, "name": f"{n}.wav", "addedMs": 1, "durationS": 1}
            for n, one in enumerate(ids)
        ],
    )
    return ids


def test_jobs_are_told_of_and_not_asked_for(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "told.wav", noise(3)))
    remember(page, [{"id": file_id, "name": "told.wav", "addedMs": 1, "durationS": 3}])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_websocket():
        page.goto("/studio")
    expect(page.locator(CARDS).get_by_role("button", name="Separate")).to_be_enabled()
    # Another program starts the job.
    studio.process(file_id)
    expect(page.locator(CARDS).get_by_role("link", name="Open the mixer")).to_be_visible()
    statuses = [url for url in asked if "/status/" in url]
    # At the beginning, and when the job has ended.
    assert len(statuses) <= 3


def test_a_list_is_subscribed_to_once(page: Page, studio: Server) -> None:
    """The server answers with the jobs of the files, which is no reason to ask again."""
    file_id = studio.upload(write_wav(studio.folder / "canceled.wav", noise(60)))
    studio.process(file_id)
    studio.post(f"/cancel/{file_id}")
    assert studio.wait(file_id)["status"] == "canceled"
    remember(page, [{"id": file_id, "name": "canceled.wav", "addedMs": 1, "durationS": 60}])
    frames: list[str] = []

    def note(frame: str | bytes) -> None:
        frames.append(str(frame))

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", note)
        socket.on("framereceived", note)

    page.on("websocket", listen)
    page.goto("/studio")
    while not any('"job"' in frame for frame in frames):
        settle(page)
    # A new subscription would come 50 ms after each event.
    for _ in range(20):
        page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert len([frame for frame in frames if '"subscribe"' in frame]) <= 2


def test_a_late_answer_does_not_replace_a_newer_one(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "late.wav", noise(0.2)))
    page.add_init_script(LOOK)
    held = hold_requests(page, "**/status/*")
    page.goto(f"/studio/{file_id}")
    wait_for(page, held, 1)
    page.evaluate("look()")
    wait_for(page, held, 2)
    first, second = held[:2]
    second.continue_()
    separate = page.get_by_role("button", name="Separate")
    expect(separate).to_be_visible()
    with page.expect_response("**/status/*"):
        first.fulfill(status=404, json={"code": "unknown_file", "error": "There is no such file."})
    settle(page)
    assert separate.is_visible()


def test_two_tabs_show_the_same(page: Page, song: Song) -> None:
    page.goto("/studio")
    other = page.context.new_page()
    other.goto("/studio")
    page.set_input_files("#files", song.path)
    expect(page.locator(CARDS)).to_have_count(1)
    expect(other.locator(CARDS)).to_contain_text("tone.wav")
    other.get_by_role("button", name="Analyse").click()
    expect(page.locator(CARDS)).to_contain_text("A minor")
    page.get_by_role("button", name="Delete").click()
    expect(other.locator(CARDS)).to_have_count(0)


@pytest.mark.parametrize("is_shown_again", [True, False])
def test_a_tab_with_an_old_list_loses_no_song(
    page: Page, studio: Server, is_shown_again: bool
) -> None:
    """A page from the back-forward cache shows the list of today; none writes an old one."""
    paths = [write_wav(studio.folder / f"{name}.wav", noise(0.2)) for name in ("old", "new")]
    page.add_init_script(DEAF)
    page.goto("/studio")
    page.set_input_files("#files", paths[0])
    expect(page.locator(CARDS)).to_have_count(1)
    other = page.context.new_page()
    other.goto("/studio")
    other.set_input_files("#files", paths[1])
    expect(other.locator(CARDS)).to_have_count(2)
    if is_shown_again:
        page.evaluate(BACK)
        expect(page.locator(CARDS)).to_have_count(2)
        return
    assert page.locator(CARDS).count() == 1
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(CARDS)).to_contain_text("new.wav")
    expect(other.locator(CARDS)).to_have_count(1)
    expect(other.locator(CARDS)).to_contain_text("new.wav")


def test_a_tab_with_an_old_list_loses_no_tune(page: Page, studio: Server) -> None:
    path = write_wav(studio.folder / "tune.wav", noise(0.2))
    tunes = [{"id": studio.upload(path), "prompt": prompt} for prompt in ("old", "new")]
    write = "(tunes) => localStorage.setItem('studio.tunes', JSON.stringify(tunes))"
    page.goto("/studio/music")
    page.evaluate(write, tunes[:1])
    page.reload()
    expect(page.locator(CARDS)).to_have_count(1)
    page.evaluate(write, tunes)
    page.evaluate(BACK)
    expect(page.locator(CARDS)).to_have_count(2)


def test_a_file_that_is_deleted_elsewhere_is_shown_as_gone(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "short-lived.wav", noise(1)))
    remember(page, [{"id": file_id, "name": "short-lived.wav", "addedMs": 1, "durationS": 1}])
    page.goto("/studio")
    separate = page.locator(CARDS).get_by_role("button", name="Separate")
    expect(separate).to_be_enabled()
    studio.delete(f"/cleanup/{file_id}")
    separate.click()
    expect(page.locator(CARDS)).to_contain_text("no longer on the server")
    page.goto(f"/studio/{file_id}")
    expect(page.get_by_role("alert")).to_contain_text("no longer on the server")
    assert_usable(page)
    page.get_by_role("link", name="Go to your songs").click()
    expect(page.locator(CARDS)).to_have_count(1)


def test_a_restart_of_the_server_needs_no_reload(page: Page, studio: Server) -> None:
    file_id = studio.upload(write_wav(studio.folder / "restart.wav", noise(3)))
    remember(page, [{"id": file_id, "name": "restart.wav", "addedMs": 1, "durationS": 3}])
    page.goto("/studio")
    page.evaluate("window.isSame = true")
    expect(page.get_by_role("button", name="Separate")).to_be_enabled()
    studio.kill()
    try:
        expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    finally:
        studio.start()
    expect(page.get_by_text("The server cannot be reached.")).to_be_hidden()
    page.get_by_role("button", name="Separate").click()
    expect(page.get_by_role("link", name="Open the mixer")).to_be_visible()
    assert page.evaluate("window.isSame")


def test_an_answer_that_breaks_off_is_asked_for_again(
    page: Page, studio: Server, sung: Song
) -> None:
    studio.edit(sung.file_id, [LINE])
    page.add_init_script(BREAK)
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.locator(".line")).to_contain_text("one two")
    assert page.evaluate("window.broken")


def test_a_lost_server_is_told_of_in_the_language_of_the_page(
    page: Page, studio: Server, sung: Song
) -> None:
    studio.edit(sung.file_id, [LINE])
    page.add_init_script(GERMAN)
    page.route("**/upload", lambda route: route.abort())
    page.goto("/studio")
    page.set_input_files("#files", sung.path)
    expect(page.locator(".bad")).to_have_text("Die Verbindung ist abgebrochen.")
    page.route("**/transcription?format=json", lambda route: route.abort())
    page.goto(f"/studio/{sung.file_id}/transcript")
    expect(page.locator(".save")).to_contain_text("Der Server ist nicht erreichbar.")


def test_a_song_that_could_not_be_loaded_plays_after_a_retry(page: Page, song: Song) -> None:
    """Without another press of the button, at the same speed; and the button still works."""
    page.add_init_script(KEEP_MEDIA)
    held = hold_requests(page, "**/stems.flac")
    page.goto(f"/studio/{song.file_id}?from=1&to=7&speed=0.8")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    wait_for(page, held, 1)
    for route in held:
        route.abort()
    page.unroute("**/stems.flac")
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    until(page, f"window.heard && ({LEVEL})() > {LOUD}")
    assert page.evaluate("media.at(-1).playbackRate") == 0.8
    page.get_by_role("button", name="Pause").click()
    until(page, f"({LEVEL})() < {LOUD / 10}")
    page.get_by_role("button", name="Play").click()
    until(page, f"({LEVEL})() > {LOUD}")


def test_a_song_whose_files_were_refused_asks_again(page: Page, song: Song) -> None:
    problem = {"code": "too_many_requests", "error": "Retry after 1 s."}
    refused = handle_first(
        page,
        "**/files/*",
        lambda route: route.fulfill(status=429, json=problem, headers={"Retry-After": "1"}),
    )
    page.goto(f"/studio/{song.file_id}")
    expect(page.locator(".lane")).to_have_count(4)
    assert refused


def test_what_failed_for_a_moment_is_asked_for_again(page: Page, studio: Server) -> None:
    file_id = studio.separate(write_wav(studio.folder / "moment.wav", noise(4)))
    assert studio.process(file_id, "analysis").status_code == 202
    assert studio.wait(file_id)["status"] == "completed"
    failed: list[str] = []

    def fail_first(route: Route) -> None:
        if route.request.url in failed:
            route.continue_()
        elif route.request.url.endswith("/analysis"):
            failed.append(route.request.url)
            route.fulfill(status=503, json={"code": "overloaded", "error": "The server is busy."})
        else:
            failed.append(route.request.url)
            route.abort()

    for path in ("**/download/*/analysis", "**/download/*/vocals?format=peaks*"):
        page.route(path, fail_first)
    page.goto(f"/studio/{file_id}")
    until(page, f"({DRAWN})('wave')")
    expect(page.locator("[data-chord]")).not_to_be_empty()
    assert len(failed) == 2


def test_a_list_asks_for_a_few_waveforms_at_once(page: Page, studio: Server) -> None:
    """A proxy allows an address only some downloads; what it refuses is asked for later."""
    names = ["first.wav", "second.wav"]
    songs = [studio.separate(write_wav(studio.folder / name, noise(1))) for name in names]
    remember(
        page,
        [
            {"id": file_id, "name": name, "addedMs": 1, "durationS": 1}
            for file_id, name in zip(songs, names, strict=True)
        ],
    )
    held = hold_requests(page, PEAKS)
    page.goto("/studio")
    expect(page.get_by_role("link", name="Open the mixer")).to_have_count(2)
    wait_for(page, held, 4)
    settle(page)
    assert len(held) == 4
    refused = held.pop(0)
    problem = {"code": "too_many_requests", "error": "Wait until one has finished."}
    refused.fulfill(status=429, json=problem, headers={"Retry-After": "1"})
    held.release()
    until(page, f"({DRAWN})('picture')")


@pytest.mark.parametrize(
    ("path", "button"), [("/live", "Start the microphone"), ("/studio/music", "Make music")]
)
def test_the_models_are_asked_for_again(page: Page, path: str, button: str) -> None:
    aborted = handle_first(page, "**/models", Route.abort)
    page.goto(path)
    expect(page.get_by_role("button", name=button)).to_be_enabled()
    assert aborted
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_picture_that_failed_is_asked_for_again(page: Page, studio: Server) -> None:
    show_uploads(page, studio, 2)
    aborted = handle_first(page, PEAKS, Route.abort)
    page.goto("/studio")
    until(page, f"({DRAWN})('picture')")
    assert aborted


def test_pictures_are_asked_for_while_they_are_seen(page: Page, studio: Server) -> None:
    """Those of cards that were scrolled past come later; those of a page that was left, never."""
    ids = show_uploads(page, studio, 12)
    held = hold_requests(page, PEAKS)
    page.goto("/studio")
    for number in (0, 1, -1):
        card = page.locator(CARDS).nth(number)
        card.scroll_into_view_if_needed()
        expect(card.get_by_role("button", name="Separate")).to_be_enabled()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    wait_for(page, held, 1)
    held[0].continue_()
    wait_for(page, held, 2)
    assert held[1].request.url.split("/")[-2] in ids[6:]
    with page.expect_event("requestfailed", lambda request: "format=peaks" in request.url):
        page.get_by_role("link", name="Live").click()
    settle(page)
    assert len(held) == 2
