"""A real Chromium, driven by Playwright, and a server with one separated song."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import DESKTOP, PHONE, chromium, new_context, until
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, SONG, write_wav

TONE_HZ = 440.0
TONE_S = 8.0
__all__ = ["DESKTOP", "PHONE", "TONE_HZ", "Song", "until"]
# Everything that is played also goes into this analyser.
HEAR = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...more) {
  if (target instanceof AudioDestinationNode) {
    // A page that plays other files has another context.
    if (window.heard?.context !== this.context) {
      window.heard = new AnalyserNode(this.context, { fftSize: 32768, smoothingTimeConstant: 0 });
    }
    connect.call(this, window.heard);
  }
  return connect.call(this, target, ...more);
};
"""
# The media elements that the page has created.
KEEP_MEDIA = """
window.media = [];
const Player = window.Audio;
window.Audio = function (...more) {
  media.push(new Player(...more));
  return media.at(-1);
};
"""


@dataclass(frozen=True)
class Song:
    """An upload, and its file."""

    file_id: str
    path: Path


@pytest.fixture(scope="package")
def studio(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    (folder / "weights").mkdir()
    (folder / "weights" / ".graphs").symlink_to(graphs)
    server = Server(folder, WHISPER_MODEL="mini").start()
    yield server
    server.stop_later()


@pytest.fixture(scope="package")
def song(studio: Server) -> Song:
    """A tone, separated."""
    time_s = np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * TONE_HZ * time_s).astype(np.float32)
    path = write_wav(studio.folder / "tone.wav", np.stack([tone, tone]))
    return Song(studio.separate(path), path)


@pytest.fixture(scope="package")
def sung(studio: Server) -> Song:
    """The bundled song, separated and transcribed."""
    path = SONG / "mixture.flac"
    file_id = studio.separate(path)
    assert studio.process(file_id, "whisper", source="vocals").status_code == 202
    assert studio.wait(file_id)["status"] == "completed"
    return Song(file_id, path)


@pytest.fixture(scope="package", name="chromium")
def _chromium(microphone: Path) -> Iterator[Browser]:
    with chromium(microphone) as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, studio: Server) -> Iterator[Page]:
    """An empty page of a browser without a history; errors in it fail the test."""
    with new_context(chromium, viewport=DESKTOP, base_url=studio.url, locale="en-GB") as context:
        context.add_init_script(HEAR)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        # What is cut off by closing the page is no error.
        before_end = list(errors)
        page.unroute_all(behavior="ignoreErrors")
    assert before_end == []
