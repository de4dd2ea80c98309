"""`make screenshots`: a picture of each page, on a desktop and on a phone, in light and in dark.

A server with the bundled models makes what the pages show. All pictures go to outputs/pictures;
`--publish` puts those of the README into docs/pictures. Needs Chromium and `make page`.
"""

import argparse
import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from scripts.demo import PROMPT, ROOT, SONG, SPEECH, asked, process, server
from studio.inference.variants import BUNDLED

TARGET = ROOT / "outputs" / "pictures"
PUBLISHED = ROOT / "docs" / "pictures"
MAX_PUBLISHED_BYTES = 120_000
DESKTOP: ViewportSize = {"width": 1180, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}
SIZES = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES = ("light", "dark")
QUALITY = 82
# The pictures of the README.
README = (
    "songs-desktop-light",
    "mixer-desktop-dark",
    "karaoke-desktop-dark",
    "music-desktop-light",
)
TITLE = "Sample Song.flac"
WORDS = "Spoken Sample.flac"
TIMEOUT_MS = 120_000


@dataclass(frozen=True)
class View:
    """A page to show; `prepare` brings it into the state of the picture."""

    name: str
    path: str
    prepare: Callable[[Page], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publish", action="store_true", help="write docs/pictures")
    options = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        print("The pictures need Chromium (Debian: apt install chromium).")
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    with server() as url, requests.Session() as session, sync_playwright() as playwright:
        views, history = prepared(url, session)
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for size in SIZES:
            for scheme in SCHEMES:
                with opened(browser, url, size, scheme, history) as page:
                    for view in views:
                        show(page, view)
                        name = f"{view.name}-{size}-{scheme}"
                        save(page, TARGET / f"{name}.webp")
                        print(name, flush=True)
        browser.close()
    if options.publish:
        publish()
    return 0


def prepared(url: str, session: requests.Session) -> tuple[list[View], list[dict[str, Any]]]:
    """Make a song with its stems, words and chords, and a transcript.

    Returns the pages to show, and the songs that the browser remembers.
    """
    song = sent(url, session, SONG / "mixture.flac", TITLE)
    process(url, session, "demucs", song, BUNDLED)
    process(url, session, "whisper", song, BUNDLED, source="vocals")
    process(url, session, "analysis", song, BUNDLED)
    speech = sent(url, session, SPEECH / "spoken.flac", WORDS)
    process(url, session, "whisper", speech, BUNDLED)
    history = [
        {"id": file_id, "name": name, "addedMs": 0, "durationS": duration_s}
        for file_id, name, duration_s in ((song, TITLE, 18.0), (speech, WORDS, 20.0))
    ]
    views = [
        View("songs", "/studio", _songs),
        View("mixer", f"/studio/{song}?mute=vocals&from=4&to=9", _mixer),
        View("karaoke", f"/studio/{song}/karaoke?t=5", _nothing),
        View("transcript", f"/studio/{speech}/transcript", _nothing),
        View("music", "/studio/music", _music),
        View("live", "/live", _nothing),
        View("docs", "/docs", _nothing),
    ]
    return views, history


def sent(url: str, session: requests.Session, path: Path, name: str) -> str:
    with path.open("rb") as file:
        answer = asked(
            session.post(f"{url}/upload", files={"file": (name, file)}, timeout=TIMEOUT_MS / 1000)
        )
    return str(answer["file_id"])


@contextmanager
def opened(
    browser: Browser, url: str, size: str, scheme: str, history: list[dict[str, Any]]
) -> Iterator[Page]:
    """A page of a browser that remembers songs."""
    context = browser.new_context(
        base_url=url,
        viewport=SIZES[size],
        device_scale_factor=2 if size == "phone" else 1,
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-GB",
    )
    context.set_default_timeout(TIMEOUT_MS)
    records = json.dumps(json.dumps(history))
    context.add_init_script(f"localStorage.setItem('studio.songs', {records})")
    try:
        yield context.new_page()
    finally:
        context.close()


def show(page: Page, view: View) -> None:
    page.goto(view.path)
    page.wait_for_load_state("networkidle")
    view.prepare(page)


def _nothing(_page: Page) -> None:
    """Nothing has to be done."""


def _songs(page: Page) -> None:
    page.locator(".made").nth(1).wait_for()
    page.locator("canvas.picture").first.wait_for()


def _mixer(page: Page) -> None:
    page.locator(".chord-lane").wait_for()
    page.locator(".chord-lane canvas").click(position={"x": 150, "y": 10})


def _music(page: Page) -> None:
    page.get_by_label("Describe the music").fill(PROMPT)


def save(page: Page, path: Path) -> None:
    """Write what is on the screen as WebP, which Playwright itself does not."""
    page.evaluate("document.fonts.ready.then(() => {})")
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    path.write_bytes(base64.b64decode(shot["data"]))
    session.detach()


def publish() -> None:
    """Put the pictures of the README into the repository. Raises ValueError if one is too big."""
    PUBLISHED.mkdir(exist_ok=True)
    for name in README:
        picture = TARGET / f"{name}.webp"
        if picture.stat().st_size > MAX_PUBLISHED_BYTES:
            raise ValueError(f"{name} has {picture.stat().st_size} bytes")
        shutil.copyfile(picture, PUBLISHED / picture.name)


if __name__ == "__main__":
    raise SystemExit(main())
