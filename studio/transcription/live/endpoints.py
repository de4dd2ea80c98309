"""Finds utterances in a stream of speech.

Voice activity is Silero's network on windows of 32 ms. An utterance begins where the probability of
a voice reaches 0.5 and ends where it has been below 0.35 for the endpointing time. A very long one
is cut at its quietest point. The result depends on the audio only, not on the chunk sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.voice_activity import (
    SILENCE_BELOW,
    VOICE_AT,
    WINDOW_SAMPLES,
    VoiceActivity,
)

# Audio with fewer voiced windows than this (0.1 s) is a click and not a word.
MIN_VOICED = 3
# Audio kept before and after a voice: words begin softly, and models miss a first word that starts
# immediately.
BEFORE_SAMPLES = round(0.3 * RATE_HZ)
AFTER_SAMPLES = round(0.2 * RATE_HZ)
# Whisper processes 30 s at a time; a long utterance is cut between these two lengths.
CUT_FROM_SAMPLES = 15 * RATE_HZ
CUT_AT_SAMPLES = 20 * RATE_HZ
QUIET_BLOCK_SAMPLES = round(0.1 * RATE_HZ)


@dataclass(frozen=True)
class Span:
    """A part of the stream, in samples from its beginning."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE_HZ


class Endpoints:
    """Consumes the stream, and yields utterances once they have ended.

    `position` is the number of samples processed.
    """

    def __init__(self, endpointing_ms: int) -> None:
        self.position = 0
        self.endpointing_ms = endpointing_ms
        self._activity = VoiceActivity()
        self._from: int | None = None
        self._voiced = 0
        self._silent_from: int | None = None
        self._last_end = 0
        self._left = np.zeros(0, np.float32)
        self._levels: list[float] = []

    @property
    def voice_from(self) -> int | None:
        """The start of the current utterance; None: nobody speaks."""
        return self._from if self._voiced >= MIN_VOICED else None

    @property
    def is_pause(self) -> bool:
        """Whether the current utterance may just have ended."""
        return self.voice_from is not None and self._silent_from is not None

    @property
    def likely(self) -> Span | None:
        """The current utterance if the present silence lasts; None if there is no silence, or not
        enough yet."""
        if self._from is None or not self.is_pause:
            return None
        end = (self._silent_from or 0) + AFTER_SAMPLES
        return Span(self._from, end) if self.position >= end else None

    @property
    def needed_from(self) -> int:
        """The earliest sample at which a later utterance can begin."""
        return max(self.position - BEFORE_SAMPLES, 0) if self._from is None else self._from

    def feed(self, speech: Speech) -> Iterator[Span]:
        """Process the next samples; yield the utterances that end in them."""
        waiting = np.concatenate([self._left, speech])
        whole = len(waiting) // WINDOW_SAMPLES * WINDOW_SAMPLES
        self._left = waiting[whole:]
        if whole == 0:
            return
        for number, probability in enumerate(self._activity.probabilities(waiting[:whole])):
            window = waiting[number * WINDOW_SAMPLES : (number + 1) * WINDOW_SAMPLES]
            yield from self._window(probability, float(np.square(window, dtype=np.float64).mean()))

    def flush(self) -> Iterator[Span]:
        """End the current utterance, as if silence had followed."""
        start, end = self.voice_from, self.position + len(self._left)
        self._from, self._voiced = None, 0
        if start is not None:
            self._last_end = end
            yield Span(start, end)

    def discard(self) -> None:
        """Forget the current utterance; the next one begins here or later."""
        self._from, self._voiced, self._last_end = None, 0, self.position

    def finish(self) -> Iterator[Span]:
        """End the stream: process the rest, and end the last utterance."""
        end = self.position + len(self._left)
        if len(self._left):
            yield from self.feed(np.zeros(WINDOW_SAMPLES - len(self._left), np.float32))
        yield from (Span(span.start, end) for span in self.flush())

    def _window(self, probability: float, power: float) -> Iterator[Span]:
        start = self.position
        self.position += WINDOW_SAMPLES
        if self._from is None:
            if probability < VOICE_AT:
                return
            self._from = max(start - BEFORE_SAMPLES, self._last_end)
            self._voiced = 0
            self._levels = [np.inf] * ((start - self._from) // WINDOW_SAMPLES)
        self._voiced += probability >= VOICE_AT
        self._levels.append(power)
        if probability >= SILENCE_BELOW:
            self._silent_from = None
        elif self._silent_from is None:
            self._silent_from = start
        silence = self.endpointing_ms * RATE_HZ // 1000
        if self._silent_from is not None and self.position - self._silent_from >= silence:
            yield from self._end(min(self._silent_from + AFTER_SAMPLES, self.position))
        elif self.position - self._from >= CUT_AT_SAMPLES:
            yield from self._cut(self._quietest())

    def _end(self, end: int) -> Iterator[Span]:
        """Emit the utterance, unless it was too short for a voice."""
        if self.voice_from is not None:
            self._last_end = end
            yield Span(self.voice_from, end)
        self._from, self._voiced = None, 0

    def _cut(self, cut: int) -> Iterator[Span]:
        """Emit a part of the utterance; the rest begins at the cut."""
        assert self._from is not None
        levels = self._levels[(cut - self._from) // WINDOW_SAMPLES :]
        was_voice = self.voice_from is not None
        yield from self._end(cut)
        silent = self._silent_from is not None and self._silent_from <= cut
        if was_voice and not silent:
            self._from, self._voiced, self._levels = cut, MIN_VOICED, levels

    def _quietest(self) -> int:
        """The middle of the quietest block since CUT_FROM_SAMPLES."""
        assert self._from is not None
        blocks = QUIET_BLOCK_SAMPLES // WINDOW_SAMPLES
        first = CUT_FROM_SAMPLES // WINDOW_SAMPLES
        sums = np.convolve(self._levels[first:], np.ones(blocks), "valid")
        return self._from + (first + int(sums.argmin()) + blocks // 2) * WINDOW_SAMPLES
