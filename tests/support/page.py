"""What the tests of the live test page share: where things are on it, and how it is opened."""

import pytest

from studio.web.pages import SOCKETIO_CLIENT
from tests.support.browser import Browser
from tests.support.server import Server

NEEDS_CLIENT = pytest.mark.skipif(not SOCKETIO_CLIENT.is_file(), reason="`make page` was not run")
WIDTHS = [1200, 390]
STATE = "document.getElementById('state').innerText"
ERRORS = "document.getElementById('errors').innerText"


def connect(browser: Browser, server: Server) -> None:
    browser.open(f"{server.url}/websocket-test.html")
    browser.click("#connect")
    browser.wait(f"{STATE}.startsWith('Connected')")


def stream_faster(browser: Browser, times: int) -> None:
    """Files that are chosen from now on are sent so many times faster than they sound."""
    browser.run(f"""void (() => {{
        const now = performance.now.bind(performance);
        performance.now = () => {times} * now();
    }})()""")


def fits(browser: Browser) -> bool:
    """Nothing sticks out to the right."""
    return bool(browser.run("document.documentElement.scrollWidth <= innerWidth"))
