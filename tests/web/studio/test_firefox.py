"""Firefox: the mixer plays, karaoke fills words in time, and an open line of a text is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.firefox import BINARY, Firefox
from tests.support.server import Server, until
from tests.support.studio_page import LEVEL, LINE, LOUD, NEXT, PITCH, SILENT, SWEPT
from tests.web.studio.conftest import HEAR, TONE_HZ, Song

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="Firefox is not installed; .ci/run installs it"),
]

# Its second word is sung for long, so that a busy machine sees it being swept.
HELD = {
    **LINE,
    "end_s": 13.0,
    "words": [
        {"text": " one", "start_s": 4.0, "end_s": 5.0},
        {"text": " two", "start_s": 5.0, "end_s": 13.0},
    ],
}


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    firefox = Firefox(tmp_path)
    yield firefox
    firefox.close()


def test_a_song_is_played_muted_and_sought(firefox: Firefox, studio: Server, song: Song) -> None:
    firefox.call("script.addPreloadScript", functionDeclaration=f"() => {{ {HEAR} }}")
    firefox.open(f"{studio.url}/studio/{song.file_id}?from=1&to=7")
    firefox.wait("document.querySelectorAll('.lane').length === 4")
    firefox.click(".transport .primary")
    firefox.wait(f"window.heard && ({LEVEL})() > {LOUD}")
    for digit in "1234":
        firefox.press(digit)
    firefox.wait(f"({LEVEL})() < {SILENT}")
    for digit in "1234":
        firefox.press(digit)
    firefox.wait(f"({LEVEL})() > {LOUD}")
    firefox.press(" ")
    firefox.wait("document.querySelector('.transport .primary').textContent.includes('▶')")
    firefox.press("l")
    firefox.click("[data-stem=drums] .time")
    firefox.wait("document.querySelector('[data-clock]').textContent === '0:04'")
    firefox.open(f"{studio.url}/studio/{song.file_id}?from=1&to=7&key=2")
    firefox.wait("document.querySelectorAll('.lane').length === 4")
    firefox.click(".transport .primary")
    firefox.wait(f"window.heard && Math.abs(({PITCH})() / {TONE_HZ} - 2 ** (2 / 12)) < 0.01")


def test_words_are_swept_in_time(firefox: Firefox, studio: Server, sung: Song) -> None:
    studio.edit(sung.file_id, [HELD, {**NEXT, "start_s": 15.0, "end_s": 16.0}])
    firefox.open(f"{studio.url}/studio/{sung.file_id}/karaoke?t=4.5")
    firefox.wait(f"Math.abs({SWEPT}[0] - 0.5) < 0.01 && {SWEPT}[1] === 0")
    firefox.press("]")
    firefox.wait(f"Math.abs({SWEPT}[0] - 0.45) < 0.01")
    firefox.press(" ")
    firefox.wait(f"{SWEPT}[0] === 1 && {SWEPT}[1] > 0")
    firefox.wait("document.querySelector('.sung').textContent.trim() === 'three'")


def test_an_open_line_is_kept_when_its_page_is_left(
    firefox: Firefox, studio: Server, sung: Song
) -> None:
    studio.edit(sung.file_id, [LINE])
    firefox.open(f"{studio.url}/studio/{sung.file_id}")
    firefox.wait("document.querySelector('.tabs a[href$=transcript]')")
    firefox.click(".tabs a[href$=transcript]")
    firefox.wait("document.querySelector('[data-edit]')")
    firefox.click("[data-edit]")
    firefox.wait("document.activeElement.matches('.line-field')")
    firefox.press("x")
    firefox.run("history.back()")
    text = f"/download/{sung.file_id}/transcription"
    until(lambda: studio.get(text).text == "one twox\n")
