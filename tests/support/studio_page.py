"""What tests of the studio page share: what they read in it, and what they change in it."""

import json

from playwright.sync_api import Page

LINE = {
    "start_s": 4.0,
    "end_s": 6.0,
    "text": " one two",
    "words": [
        {"text": " one", "start_s": 4.0, "end_s": 5.0},
        {"text": " two", "start_s": 5.0, "end_s": 6.0},
    ],
}
NEXT = {**LINE, "start_s": 8.0, "end_s": 9.0, "text": " three", "words": []}
SWEPT = """[...document.querySelectorAll(".sung-word")]
  .map((word) => Number(word.style.getPropertyValue("--sung")))"""

STEMS = ("Drums", "Bass", "Other", "Vocals")
LOUD = 0.05
SILENT = 1e-4
# The peak of what was heard in the last 0.7 s.
LEVEL = """() => {
  const samples = new Float32Array(heard.fftSize);
  heard.getFloatTimeDomainData(samples);
  return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}"""
PITCH = """() => {
  const levels = new Float32Array(heard.frequencyBinCount);
  heard.getFloatFrequencyData(levels);
  const loudest = levels.indexOf(levels.reduce((most, level) => Math.max(most, level)));
  return loudest * heard.context.sampleRate / heard.fftSize;
}"""

CARDS = ".song[data-id]"
# The time in which deleting can be undone ends when the test says so.
HOLD = """
const wait = window.setTimeout;
window.setTimeout = (run, ms, ...more) => {
  if (ms !== 6000) return wait(run, ms, ...more);
  window.endUndo = run;
  return 0;
};
"""
REFUSE_STORAGE = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, {
    get() { throw new DOMException("Access is denied.", "SecurityError"); },
  });
}
"""
# The page looks for its song when the test says so.
LOOK = """
const every = window.setInterval;
window.setInterval = (run, ms, ...more) => {
  if (ms === 10000) window.look = run;
  return every(run, ms, ...more);
};
"""


def mute(page: Page, *stems: str) -> None:
    for stem in stems:
        page.get_by_role("button", name=f"Mute {stem}").click()


def remember(page: Page, songs: list[dict[str, object]]) -> None:
    """Put songs into the history of the browser."""
    page.add_init_script(f"localStorage.setItem('studio.songs', {json.dumps(json.dumps(songs))})")
