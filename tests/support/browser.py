"""A real Chromium, driven by Playwright, and what the tests of pages ask of it."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.support.server import ROOT

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP: ViewportSize = {"width": 1200, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
TIMEOUT_S = 120.0
# Whether the browser would ask before it closes the page.
ASKS = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))"
# A script: no WebSocket gets through, as behind some proxies.
NO_WEBSOCKETS = """
window.WebSocket = class extends WebSocket {
  constructor() { super("ws://127.0.0.1:9"); }
};
"""


@contextmanager
def new_context(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A browser without a history, with the same timeout as everything else."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(TIMEOUT_S * 1000)
        yield context


@contextmanager
def chromium(microphone: Path, *options: str) -> Iterator[Browser]:
    """A headless Chromium that plays sound without a click; its microphone plays a WAV file.

    The file starts from its beginning each time a page opens the microphone.
    """
    expect.set_options(timeout=TIMEOUT_S * 1000)
    # Sound goes to a device of its own, so that a busy one of the machine cannot stop it.
    arguments = ["--no-sandbox", "--disable-audio-output"]
    arguments += ["--autoplay-policy=no-user-gesture-required"]
    arguments += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    arguments += [f"--use-file-for-fake-audio-capture={microphone}%noloop", *options]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=arguments)
        yield browser
        browser.close()


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true. (Playwright's way needs eval, which the pages forbid.)"""
    ends_s = time.monotonic() + TIMEOUT_S
    while not page.evaluate(expression):
        assert time.monotonic() < ends_s, f"{expression}: {page.inner_text('body')}"
        time.sleep(0.05)


def assert_usable(page: Page) -> None:
    """Nothing is wrong for axe, sticks out to the right, or is too small for a finger."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert fits(page)
    touched = "button, .button, nav a, summary, select, input, textarea"
    small = page.evaluate(
        """(touched) => [...document.querySelectorAll(touched)]
        .filter((one) => !one.matches('.hidden-text, .hidden, [hidden]'))
        .map((one) => [one.getBoundingClientRect(), one.outerHTML])
        .filter(([box]) => box.width > 0 && Math.min(box.width, box.height) < 44)
        .map(([box, html]) => html)""",
        touched,
    )
    assert small == [], small


def fits(page: Page) -> bool:
    """Nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def handle_first(page: Page, pattern: str, handle: Callable[[Route], object]) -> list[Route]:
    """Handle the first request of a page that matches, which is listed; later ones are answered."""
    handled: list[Route] = []

    def answer(route: Route) -> None:
        if handled:
            route.continue_()
        else:
            handled.append(route)
            handle(route)

    page.route(pattern, answer)
    return handled


class Held(list[Route]):
    """Requests of a page, none of which is answered; later ones are added."""

    _is_released = False

    def take(self, route: Route) -> None:
        if self._is_released:
            route.continue_()
        else:
            self.append(route)

    def release(self) -> None:
        """Answer them, and those that come from now on."""
        self._is_released = True
        for route in self:
            route.continue_()


def hold_requests(page: Page, pattern: str) -> Held:
    """The requests of a page that match, from now on."""
    held = Held()
    page.route(pattern, held.take)
    return held
