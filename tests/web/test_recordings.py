"""What a browser records is uploaded as it is: MediaRecorder in Chromium."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.support.server import Server

pytestmark = pytest.mark.browser

RECORD = """async ([address, mimeType, name]) => {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, {frequency: 440});
  const target = context.createMediaStreamDestination();
  tone.connect(target);
  tone.start();
  const recorder = new MediaRecorder(target.stream, {mimeType});
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start(200);
  const fromS = context.currentTime;
  while (context.currentTime < fromS + 1.5) await new Promise((resolve) => setTimeout(resolve, 50));
  recorder.stop();
  await ended;
  const form = new FormData();
  form.append('file', new Blob(pieces, {type: mimeType}), name);
  const answer = await fetch(`${address}/upload`, {method: 'POST', body: form});
  return {status: answer.status, ...await answer.json()};
}"""


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [
        ("audio/webm;codecs=opus", "recording.webm"),
        ("audio/webm;codecs=opus", "recording.ogg"),
        ("audio/mp4;codecs=opus", "recording.mp4"),
    ],
)
def test_a_recording(page: Page, speaker: Server, mime_type: str, name: str) -> None:
    sent: dict[str, Any] = page.evaluate(RECORD, [speaker.url, mime_type, name])
    assert sent["status"] == 201, sent
    assert sent["filename"] == name
    assert 0.5 < sent["duration_s"] < 10
    # A WebM of a recorder has no length.
    assert bool(sent["note"]) is ("webm" in mime_type)
    job = speaker.process(sent["file_id"], "whisper")
    assert job.status_code == 202, job.text
    assert speaker.wait(sent["file_id"])["status"] == "completed"
