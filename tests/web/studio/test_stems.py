"""What the mixer does with stems: sync, six of them, downloads of the mix, beats and chords."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from tests.support.demucs_models import save_network
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, SONG, noise, write_wav
from tests.support.studio_page import LEVEL, LOUD, SILENT, STEMS, mute
from tests.web.studio.conftest import Song, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SEEKS = 20
BURSTS = 40
# Keeps the media element of the page.
MEDIA = """
const NewAudio = window.Audio;
window.Audio = function (url) {
  window.media = new NewAudio(url);
  return window.media;
};
"""
# Seven jumps, most of them while another is in progress.
BURST = """async () => {
  for (let number = 0; number < 7; number++) {
    const key = (number % 2 === 0) === media.currentTime < 3 ? "ArrowRight" : "ArrowLeft";
    dispatchEvent(new KeyboardEvent("keydown", { key }));
    await new Promise((done) => setTimeout(done, 10 * Math.random()));
  }
}"""
# Keeps what the four lanes play at the same time, after their levels.
LANES = """
const connectTo = AudioNode.prototype.connect;
let lanes = 0;
let merger = null;
AudioNode.prototype.connect = function (target, ...more) {
  if (this instanceof AnalyserNode && target instanceof GainNode) {
    if (merger === null) {
      merger = this.context.createChannelMerger(4);
      const recorder = this.context.createScriptProcessor(4096, 4, 1);
      // Chromium collects a node that nothing refers to, although it has a handler.
      window.recorder = recorder;
      recorder.onaudioprocess = ({ inputBuffer }) => {
        window.played = [0, 1, 2, 3].map((n) => inputBuffer.getChannelData(n).slice());
      };
      connectTo.call(merger, recorder);
      connectTo.call(recorder, this.context.destination);
    }
    connectTo.call(this, merger, 0, lanes++);
  }
  return connectTo.call(this, target, ...more);
};
"""
# The largest difference between the first lane and the others, and the peak of the first.
DIFFERENCE = """() => {
  const most = (values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const [first, ...others] = window.played ?? [[0]];
  return [most(first), ...others.map((lane) => most(lane.map((x, n) => x - first[n])))];
}"""


@pytest.fixture(scope="module")
def beat_song(studio: Server) -> Song:
    """The bundled song, separated and analysed."""
    path = SONG / "mixture.flac"
    file_id = studio.separate(path)
    assert studio.process(file_id, "analysis").status_code == 202
    assert studio.wait(file_id)["status"] == "completed"
    return Song(file_id, path)


@pytest.fixture(scope="module")
def same_stems(studio: Server) -> str:
    """A song whose four stems are the same noise, so that the smallest lag can be measured."""
    file_id = studio.separate(write_wav(studio.folder / "same.wav", noise(8)))
    assert studio.get(f"/download/{file_id}/stems.flac").status_code == 200
    [path] = (studio.outputs / file_id).rglob("stems.flac")
    lane = np.random.default_rng(1).uniform(-0.3, 0.3, 8 * RATE_HZ)
    soundfile.write(str(path), np.repeat(lane[:, None], 8, axis=1), RATE_HZ)
    return file_id


def test_the_lanes_stay_in_sync_after_seeks(page: Page, same_stems: str) -> None:
    page.add_init_script(LANES)
    page.goto(f"/studio/{same_stems}?from=0.5&to=7.5")
    page.get_by_role("button", name="Play").click()
    until(page, f"({DIFFERENCE})()[0] > {LOUD}")
    for number in range(SEEKS):
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
    page.evaluate("window.played = undefined")
    until(page, f"({DIFFERENCE})()[0] > {LOUD}")
    _, *differences = page.evaluate(DIFFERENCE)
    # A lag of one sample of noise makes differences of its peak.
    assert max(differences) < 1e-3


def test_seeks_in_quick_succession_end(page: Page, same_stems: str) -> None:
    page.add_init_script(MEDIA)
    page.goto(f"/studio/{same_stems}?from=0.5&to=7.5")
    page.get_by_role("button", name="Play").click()
    for _ in range(BURSTS):
        page.evaluate(BURST)
        until(page, "!media.seeking")
    at_s = page.evaluate("media.currentTime")
    until(page, f"media.currentTime !== {at_s}")


def test_the_mix_is_downloaded_as_it_is_heard(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}?mute=vocals&volume.drums=0.5&key=2&speed=0.8")
    page.get_by_label("Format").select_option("wav")
    link = page.get_by_role("link", name="This mix")
    query = "drums=0.5&vocals=0&key=2&tempo=0.8"
    expect(link).to_have_attribute("href", f"/download/{song.file_id}/mix.wav?{query}")
    with page.expect_download() as download:
        link.click()
    frames, rate_hz = soundfile.read(download.value.path())
    assert abs(len(frames) / rate_hz - 8 / 0.8) < 0.01
    with page.expect_download() as download:
        page.get_by_role("link", name="Download Bass").click()
    frames, rate_hz = soundfile.read(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert download.value.suggested_filename == "tone - bass.wav"
    assert len(frames) == 8 * rate_hz


def test_presets_set_the_lanes(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}?volume.bass=0.4")
    for name, heard in {
        "Karaoke": {"Drums", "Bass", "Other"},
        "A cappella": {"Vocals"},
        "Without Drums": {"Bass", "Other", "Vocals"},
        "Bass alone": {"Bass"},
        "Everything": set(STEMS),
    }.items():
        preset = page.get_by_role("button", name=name)
        preset.click()
        expect(preset).to_have_attribute("aria-pressed", "true")
        for stem in STEMS:
            button = page.get_by_role("button", name=f"Mute {stem}")
            pressed = "false" if stem in heard else "true"
            expect(button).to_have_attribute("aria-pressed", pressed)
    expect(page.get_by_label("Volume of Bass")).to_have_value("1")


def test_beats_are_clicked_and_chords_are_shown(page: Page, beat_song: Song) -> None:
    page.goto(f"/studio/{beat_song.file_id}?from=5&to=15")
    expect(page.locator(".transport")).to_contain_text("168 BPM")
    expect(page.locator("[data-chord]")).not_to_be_empty()
    page.get_by_role("button", name="Play").click()
    mute(page, *STEMS)
    until(page, f"window.heard && ({LEVEL})() < {SILENT}")
    page.keyboard.press("m")
    until(page, f"({LEVEL})() > {LOUD}")
    link = page.get_by_role("link", name="This mix")
    expect(link).to_have_attribute("href", re.compile("click=1&peak_safe=true"))


def test_beats_are_found_on_request(page: Page, song: Song) -> None:
    page.goto(f"/studio/{song.file_id}")
    page.get_by_role("button", name="Find beats and chords").click()
    expect(page.locator(".transport")).to_contain_text("A minor")


def test_a_song_asks_for_as_little_as_its_width_needs(page: Page, song: Song) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/studio/{song.file_id}")
    # An answer is listed once it is complete.
    loaded = "performance.getEntriesByType('resource')"
    until(page, f"{loaded}.filter(({{ name }}) => name.includes('format=peaks')).length >= 4")
    page.wait_for_load_state("networkidle")
    peaks = [url for url in asked if "format=peaks" in url]
    assert len(peaks) == 4
    assert all(url.endswith("samples_per_pixel=512") for url in peaks)
    # No track is loaded but the file that is played.
    others = {url.rpartition("/")[2] for url in asked if "/download/" in url} - {"analysis"}
    assert {one for one in others if "peaks" not in one} == {"stems.flac"}


@pytest.fixture(scope="module")
def six_stems(studio: Server) -> Iterator[str]:
    from demucs.demucs import Demucs

    names = ["drums", "bass", "other", "vocals", "guitar", "piano"]
    options = {"sources": names, "channels": 4, "depth": 3, "lstm_layers": 0, "dconv_mode": 0}
    options |= {"resample": False, "segment": 4}
    bags = studio.folder / "weights" / "demucs"
    bags.mkdir(parents=True)
    save_network(Demucs(**options), options, bags / "six0.safetensors")
    (bags / "six.yaml").write_text("models: [six0]\n")
    yield studio.separate(
        write_wav(studio.folder / "six.wav", noise(4)), model_variant="six", format="mp3"
    )


def test_six_stems_are_played(page: Page, six_stems: str) -> None:
    page.goto(f"/studio/{six_stems}?from=0.5&to=3.5")
    expect(page.locator(".lane")).to_have_count(6)
    page.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('[data-clock]').textContent !== '0:00'")
    page.keyboard.press("6")
    expect(page.get_by_role("button", name="Mute Piano")).to_have_attribute("aria-pressed", "true")
