"""What the tests of the live test page share: how it is opened, and what is said into it."""

import re

import pytest
from playwright.sync_api import Page, expect

from studio.transcription.engine import Speech
from studio.web.pages import SOCKETIO_CLIENT
from tests.support.server import Server
from tests.support.speech import Spoken

NEEDS_CLIENT = pytest.mark.skipif(not SOCKETIO_CLIENT.is_file(), reason="`make page` was not run")
STATE, ERRORS, TEXT = "#state", "#errors", "#text"
FINISHED = re.compile("^Finished")
# Sentences of the recording that the microphone hears.
HEARD = 2


def heard(recording: Spoken) -> tuple[Speech, str]:
    """What the microphone hears, at 16 kHz, and its text."""
    return recording.part(0, HEARD), " ".join(recording.sentences[:HEARD])


def open_page(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/websocket-test.html")


def connect(page: Page, server: Server) -> None:
    open_page(page, server)
    page.click("#connect")
    expect(page.locator(STATE)).to_contain_text(re.compile("^Connected"))


def stream_faster(page: Page, times: int) -> None:
    """Files that are chosen from now on are sent so many times faster than they sound."""
    page.evaluate(f"""() => {{
        const now = performance.now.bind(performance);
        performance.now = () => {times} * now();
    }}""")


def said(page: Page) -> str:
    """All words on the page."""
    return " ".join(page.inner_text(TEXT).split())
