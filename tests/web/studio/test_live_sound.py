"""The sound of live transcription: interrupted microphones, and files that are too long."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import assert_usable, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# A call takes the microphone when the test says so.
CALLS = """
window.isCalled = false;
const resume = AudioContext.prototype.resume;
AudioContext.prototype.resume = function () {
  window.context = this;
  return isCalled ? Promise.reject(new DOMException("", "InvalidStateError")) : resume.call(this);
};
const post = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (...more) {
  // Safari's audio thread stops; that of Chromium goes on.
  if (!isCalled || more[0] !== "stop") post.apply(this, more);
};
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  window.track = stream.getTracks()[0];
  const run = AudioContext.prototype.createMediaStreamSource;
  AudioContext.prototype.createMediaStreamSource = function (source) {
    window.context = this;
    return run.call(this, source);
  };
  return stream;
};
window.mute = (isMuted) => {
  Object.defineProperty(track, "muted", { value: isMuted, configurable: true });
  track.dispatchEvent(new Event(isMuted ? "mute" : "unmute"));
};
"""
# The length of a file is looked for as long as that takes.
PATIENT = """
const wait = window.setTimeout;
window.setTimeout = (run, ms, ...more) => (ms === 10000 ? 0 : wait(run, ms, ...more));
"""
LEVEL = "Number(document.querySelector('[role=meter]').ariaValueNow)"
INTERRUPTED = "The microphone is interrupted."
TOO_LONG = "is longer than 20 minutes"
LONG_S = 21 * 60


def listen(page: Page) -> None:
    page.add_init_script(CALLS)
    page.goto("/live")
    page.get_by_role("button", name="Start the microphone").click()
    until(page, f"{LEVEL} > 0")


@pytest.mark.parametrize(
    ("interrupt", "go_on"),
    [
        (
            "() => { isCalled = true; void context.suspend(); }",
            "() => { isCalled = false; document.dispatchEvent(new Event('visibilitychange')); }",
        ),
        ("mute(true)", "mute(false)"),
    ],
    ids=["context", "track"],
)
def test_an_interruption_is_said_until_it_ends(page: Page, interrupt: str, go_on: str) -> None:
    listen(page)
    page.evaluate(interrupt)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(INTERRUPTED)
    assert_usable(page)
    page.evaluate(go_on)
    expect(alert).to_have_count(0)
    sent_s = float(page.locator("[data-figure=sent]").inner_text().removesuffix(" s"))
    until(page, f"parseFloat(document.querySelector('[data-figure=sent]').innerText) > {sent_s}")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_enabled()


def test_a_short_interruption_is_not_said(page: Page) -> None:
    """The browser itself gives the microphone back."""
    listen(page)
    page.evaluate("context.suspend()")
    until(page, "context.state === 'running'")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_interrupted_recording_can_be_stopped(page: Page) -> None:
    """Nothing answers that is asked for the last samples."""
    listen(page)
    page.evaluate("() => { isCalled = true; void context.suspend(); }")
    expect(page.get_by_role("alert")).to_contain_text(INTERRUPTED)
    assert page.evaluate(LEVEL) == 0
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_enabled()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.evaluate("track.readyState") == "ended"


@pytest.mark.parametrize("name", ["long.wav", "long.webm"])
def test_a_long_file_is_refused(page: Page, tmp_path: Path, name: str) -> None:
    """It would be decoded as a whole. A WebM that was written to a pipe has no length."""
    silence = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", str(LONG_S)]
    kind = name.rpartition(".")[2]
    made = subprocess.run(
        ["ffmpeg", "-v", "error", *silence, "-f", kind, "pipe:1"], check=True, capture_output=True
    )
    path = tmp_path / name
    path.write_bytes(made.stdout)
    page.add_init_script(
        "OfflineAudioContext.prototype.decodeAudioData = () => { window.isDecoded = true; };"
    )
    page.add_init_script(PATIENT)
    page.goto("/live")
    page.get_by_label("Model").select_option("mini")
    page.set_input_files("#live-file", path)
    expect(page.get_by_role("alert")).to_contain_text(f"{name} {TOO_LONG}")
    assert page.evaluate("window.isDecoded") is None
    expect(page.get_by_role("button", name="Stream a file")).to_be_enabled()
