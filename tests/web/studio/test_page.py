"""The page as a whole: its size, its cache, its policy, and whether everybody can use it."""

import gzip
import re

import pytest
from playwright.sync_api import Page, expect

from studio.web.assets import STATIC, Assets
from tests.support.browser import DESKTOP, PHONE, assert_usable
from tests.support.server import Server
from tests.support.stages import stages
from tests.web.studio.conftest import Song

pytestmark = pytest.mark.browser
MAX_FIRST_PAGE_BYTES = 150_000
MAX_FIRST_PAGE_REQUESTS = 60
MAX_MODULE_LINES = 200


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["songs", "mixer", "transcript", "karaoke"])
def test_everybody_can_use_it(page: Page, sung: Song, name: str, scheme: str) -> None:
    """In light colours on a phone, in dark ones on a desktop."""
    page.set_viewport_size(DESKTOP if scheme == "dark" else PHONE)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    paths = {"songs": "", "mixer": f"/{sung.file_id}"}
    page.goto(f"/studio{paths.get(name, f'/{sung.file_id}/{name}')}")
    expect(page.locator("main button").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert_usable(page)


@pytest.mark.slow
@pytest.mark.parametrize("height", [480, 256])
@pytest.mark.parametrize(("name", "row"), [("", ".lane"), ("/transcript", ".line")])
def test_a_small_screen_has_room_for_more_than_the_player(
    page: Page, sung: Song, name: str, row: str, height: int
) -> None:
    page.set_viewport_size({"width": 320, "height": height})
    page.goto(f"/studio/{sung.file_id}{name}")
    rows = page.locator(row)
    expect(rows.first).to_be_visible()
    for one in rows.all():
        is_seen = one.evaluate(
            """(row) => {
              row.scrollIntoView({ block: "center" });
              const { x, y, width, height } = row.getBoundingClientRect();
              return row.contains(document.elementFromPoint(x + width / 2, y + height / 2));
            }"""
        )
        assert is_seen


def test_the_first_page_is_small_and_is_loaded_once(page: Page) -> None:
    sizes: dict[str, int] = {}

    def note(answer: object) -> None:
        url, headers = answer.url, answer.headers  # type: ignore[attr-defined]
        sizes[url] = int(headers.get("content-length", 0))

    page.on("response", note)
    page.goto("/studio")
    expect(page.get_by_role("heading", name="Drop songs here")).to_be_visible()
    assert 10 < len(sizes) < MAX_FIRST_PAGE_REQUESTS
    assert sum(sizes.values()) < MAX_FIRST_PAGE_BYTES
    assert not any("mixer.js" in url or "stretch" in url for url in sizes)


@pytest.mark.slow
def test_nothing_comes_from_elsewhere(page: Page, song: Song, studio: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/studio/{song.file_id}?key=1")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert [url for url in asked if not url.startswith((studio.url, "blob:", "data:"))] == []


def test_files_with_a_version_are_kept_for_good(studio: Server) -> None:
    answer = studio.get("/studio")
    [path] = set(re.findall(r'src="(/static/[0-9a-f]+/js/main\.js)"', answer.text))
    script = studio.get(path)
    assert "immutable" in script.headers["Cache-Control"]
    assert "javascript" in script.headers["Content-Type"]
    older = studio.get("/static/0123/js/main.js")
    assert older.content == script.content
    assert older.headers["Cache-Control"] == "no-cache"
    missing = studio.get("/static/0123/js/none.js")
    assert missing.status_code == 404
    assert missing.json()["code"] == "unknown_route"


@pytest.mark.slow
def test_scripts_that_are_not_the_server_s_own_do_not_run(page: Page) -> None:
    page.goto("/studio")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hit = 1";
          document.body.append(script);
        }"""
    )
    assert page.evaluate("window.hit") is None


def test_every_stage_of_a_job_has_words() -> None:
    """In English; `tsc` compares the languages."""
    named = stages()
    assert len(named) > 10
    assert "aligning" in named
    words = (STATIC / "js" / "words" / "en.js").read_text("utf-8")
    assert {stage for stage in named if f'"stage.{stage}"' not in words} == set()


def test_compressed_files_are_the_files() -> None:
    assets = Assets()
    for path in STATIC.rglob("*.js"):
        asset = assets.get(path.relative_to(STATIC).as_posix())
        assert asset.content == path.read_bytes()
        assert not asset.compressed or gzip.decompress(asset.compressed) == asset.content


def test_modules_can_be_read_in_a_sitting() -> None:
    for path in (STATIC / "js").rglob("*.js"):
        assert len(path.read_text("utf-8").splitlines()) <= MAX_MODULE_LINES, path
