"""A song of an hour opens with coarse peaks, and only the parts that are played are loaded."""

import json
import re
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG_S = 3600
# The player plays any rate; a low one is written quickly.
STEMS_HZ, BLOCK_S = 8_000, 60
MAX_PEAKS_BYTES = 200_000
MAX_PLAYED_SHARE = 0.25
MAX_PLAYED_REQUESTS = 20


@pytest.fixture(scope="module")
def long_song(studio: Server) -> str:
    """A short song whose results are replaced by those of an hour."""
    file_id = studio.separate(write_wav(studio.folder / "long.wav", noise(1.0)))
    assert studio.get(f"/download/{file_id}/stems.flac").status_code == 200
    [path] = (studio.outputs / file_id).rglob("stems.flac")
    write_stems(path)
    for peaks in path.parent.glob("*.peaks"):
        write_peaks(peaks)
    with closing(sqlite3.connect(studio.outputs / ".jobs.sqlite3", timeout=30)) as database:
        database.execute(
            "UPDATE jobs SET result = json_set(result, '$.duration_s', ?) WHERE file_id = ?",
            (float(LONG_S), file_id),
        )
        database.commit()
    return file_id


def write_stems(path: Path) -> None:
    """An hour of soft noise on eight channels."""
    block = np.random.default_rng(2).integers(-2, 3, (BLOCK_S * STEMS_HZ, 8), np.int16)
    with soundfile.SoundFile(str(path), "w", STEMS_HZ, 8, "PCM_16", format="FLAC") as file:
        for _ in range(LONG_S // BLOCK_S):
            file.write(block)


def write_peaks(path: Path) -> None:
    """Replace waveform data by that of an hour."""
    peaks = json.loads(path.read_text("ascii"))
    pixels = LONG_S * peaks["sample_rate"] // peaks["samples_per_pixel"]
    path.write_text(json.dumps({**peaks, "length": pixels, "data": [-60, 60] * pixels}))


def test_only_what_is_needed_is_loaded(page: Page, studio: Server, long_song: str) -> None:
    names: dict[str, str] = {}
    statuses: dict[str, list[int]] = defaultdict(list)
    received: dict[str, int] = defaultdict(int)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def note(event: dict[str, Any]) -> None:
        name = event["response"]["url"].rpartition("/")[2]
        names[event["requestId"]] = name
        statuses[name].append(event["response"]["status"])

    def count(event: dict[str, Any]) -> None:
        received[names.get(event["requestId"], "")] += event["dataLength"]

    session.on("Network.responseReceived", note)
    session.on("Network.dataReceived", count)
    page.goto(f"/studio/{long_song}")
    waves = page.locator("[data-stem] canvas")
    expect(waves).to_have_count(4)
    expect(page.locator(".times")).to_contain_text("1:00:00")
    box = waves.first.bounding_box()
    assert box is not None
    waves.first.click(position={"x": box["width"] * 5 / 6, "y": 20})
    clock = page.locator("[data-clock]")
    expect(clock).to_have_text(re.compile("^(49|50):"))
    sought = clock.inner_text()
    page.get_by_role("button", name="Play").click()
    expect(clock).not_to_have_text(sought)

    def received_peaks() -> dict[str, int]:
        return {name: count for name, count in received.items() if "format=peaks" in name}

    # Playwright may report a response after the page has used it.
    def has_all() -> bool:
        page.evaluate("fetch('/health').then((answer) => answer.text())")
        return len(received_peaks()) >= 4

    until(has_all)
    peaks = received_peaks()
    assert all(name.endswith("samples_per_pixel=8192") for name in peaks)
    assert 0 < max(peaks.values()) < MAX_PEAKS_BYTES
    [path] = (studio.outputs / long_song).rglob("stems.flac")
    assert 0 < received["stems.flac"] < MAX_PLAYED_SHARE * path.stat().st_size
    assert set(statuses["stems.flac"]) == {206}
    assert len(statuses["stems.flac"]) < MAX_PLAYED_REQUESTS
