"""What the tests of live sessions share: an engine that hears exactly, and a speaker of chunks.

`Hearing` stands in for a speech engine where the subject is the session or the scheduler: it knows
the samples of every word of the bundled recording, and hears a word where its samples are, never
more and never less. A word that is cut, lost or doubled on the way therefore shows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech, SpeechEngine, TimedText
from studio.transcription.languages import LANGUAGES
from studio.transcription.live.session import Session
from studio.transcription.live.settings import Limits, LiveSettings
from studio.transcription.live.tasks import Task
from studio.transcription.transcript import Segment, Word
from tests.support.speech import Spoken

LIMITS = Limits(
    sessions=8,
    sessions_of_a_client=0,
    waiting_s=60,
    silence_s=1,
    length_s=14_400,
    idle_s=120,
    chunk_bytes=1 << 19,
)
# As many samples as are looked for at a quarter and at three quarters of a word.
PRINT = 64


class Hearing:
    """A SpeechEngine that hears the words of a recording by their samples."""

    name = "hearing"
    precision = "exact"
    languages = LANGUAGES
    note = None

    def __init__(self, spoken: Spoken) -> None:
        self.asked: list[DecodeOptions] = []
        self.detected: list[tuple[str, float]] = []
        self._words: list[tuple[str, int, Speech, int, Speech]] = []
        for text, start_s, end_s in spoken.words:
            length = (end_s - start_s) * RATE_HZ
            first, second = (round(start_s * RATE_HZ + part * length) for part in (0.25, 0.75))
            prints = [spoken.sound[place : place + PRINT] for place in (first, second)]
            self._words.append((text, round(length), prints[0], second - first, prints[1]))

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        return self.detected.pop(0) if self.detected else ("en", 1.0)

    def max_windows(self, beam_size: int) -> int:
        return 1

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        for window in windows:
            self.asked.append(options)
            yield self._segments(window)

    def align(self, speech: Speech, texts: Sequence[str], language: str) -> list[TimedText]:
        raise NotImplementedError

    def _segments(self, window: Speech) -> list[Segment]:
        words: list[Word] = []
        for text, length, first, apart, second in self._words:
            for place in _places(window, first):
                if np.array_equal(window[place + apart : place + apart + PRINT], second):
                    start = place - length // 4
                    times = max(0, start) / RATE_HZ, min(start + length, len(window)) / RATE_HZ
                    words.append(Word(f" {text}", *times, 1.0))
        words.sort(key=lambda word: word.start_s)
        if not words:
            return []
        text = "".join(word.text for word in words)
        return [Segment(words[0].start_s, words[-1].end_s, text, tuple(words))]


def _places(sound: Speech, part: Speech) -> Iterator[int]:
    data, wanted = sound.tobytes(), part.tobytes()
    place = data.find(wanted)
    while place >= 0:
        if place % 4 == 0:
            yield place // 4
        place = data.find(wanted, place + 1)


class Speaker:
    """A session, the clock that the test holds, and all that the session sent."""

    def __init__(self, limits: Limits = LIMITS, **settings: Any) -> None:
        self.now_s = 1000.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.was_closed = False
        self.session = Session(
            LiveSettings(**{"variant": "mini", **settings}),
            limits,
            lambda name, data: self.events.append((name, data)),
            self.now_s,
            self._close,
        )

    def _close(self) -> None:
        self.was_closed = True

    def say(self, sound: Speech, *sizes: int) -> None:
        """Send a sound in real time, in chunks of these sizes over and over; nothing is decoded."""
        for chunk in chunks(sound, *sizes or (4000,)):
            self.now_s += len(chunk) / RATE_HZ
            self.session.admit(len(chunk) / RATE_HZ)
            self.session.feed(chunk, self.now_s)

    def serve(self, engine: SpeechEngine) -> None:
        """Decode all that is due."""
        while self.session.due() is not None:
            task = self.session.task()
            assert task is not None
            self.serve_task(engine, task)
        self.session.end_if_done()

    def serve_task(self, engine: SpeechEngine, task: Task) -> None:
        if self.session.language is None:
            self.session.language = engine.detect_language(task.speech)[0]
        (found,) = engine.transcribe([task.speech], DecodeOptions("en"))
        self.session.apply(task, found, 0.1)

    def finish(self, engine: SpeechEngine) -> dict[str, Any]:
        """Say no more; what `finished` tells."""
        self.session.finish(self.now_s)
        self.serve(engine)
        name, summary = self.events[-1]
        assert name == "finished"
        return summary

    def sent(self, name: str) -> list[dict[str, Any]]:
        return [data for sent, data in self.events if sent == name]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [data for data in self.sent("transcription") if data["is_final"]]

    @property
    def interims(self) -> list[dict[str, Any]]:
        return [data for data in self.sent("transcription") if not data["is_final"]]

    @property
    def text(self) -> str:
        return " ".join(data["transcription"] for data in self.finals)


def chunks(sound: Speech, *sizes: int) -> Iterator[Speech]:
    """The sound in pieces of these sizes, over and over."""
    start, turn = 0, 0
    while start < len(sound):
        size = sizes[turn % len(sizes)]
        yield sound[start : start + size]
        start += size
        turn += 1


def silence(seconds: float) -> Speech:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def hiss(seconds: float, level: float = 0.02, seed: int = 3) -> Speech:
    noise = np.random.default_rng(seed).normal(0, level, round(seconds * RATE_HZ))
    return noise.astype(np.float32)


def said(words: Iterable[tuple[str, float, float]]) -> str:
    return " ".join(word for word, _, _ in words)
