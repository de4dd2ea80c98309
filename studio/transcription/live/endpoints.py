"""Finds utterances in a stream of speech: where a voice begins, and where it has ended.

Voice activity is Silero's network on windows of 32 ms. An utterance begins where the probability
of a voice reaches 0.5 and ends where it has been below 0.35 for the endpointing time. One that goes
on for very long is cut at its quietest place. What is found depends on the sound alone, not on the
sizes of the chunks that it came in.
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

# A sound with fewer windows of a voice than this, a tenth of a second, is a click and no word.
MIN_VOICED = 3
# Sound that is kept before and after a voice: words begin softly, and models miss a first word that
# comes at once.
BEFORE_SAMPLES = round(0.3 * RATE_HZ)
AFTER_SAMPLES = round(0.2 * RATE_HZ)
# Whisper hears 30 s at once; an utterance is cut between these two lengths.
CUT_FROM_SAMPLES = 15 * RATE_HZ
CUT_AT_SAMPLES = 20 * RATE_HZ
QUIET_BLOCK_SAMPLES = round(0.1 * RATE_HZ)


@dataclass(frozen=True)
class Span:
    """A stretch of the stream, in samples from its beginning."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE_HZ


class Endpoints:
    """Takes the stream as it comes; gives utterances once they have ended.

    `position` is how far the stream was listened to.
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
        """Where the utterance that goes on began; None: nobody speaks."""
        return self._from if self._voiced >= MIN_VOICED else None

    @property
    def is_pause(self) -> bool:
        """Whether the utterance that goes on may just have ended."""
        return self.voice_from is not None and self._silent_from is not None

    @property
    def likely(self) -> Span | None:
        """The utterance that goes on as it will have been if the present silence lasts; None while
        there is no silence, or too little of it was heard yet."""
        if self._from is None or not self.is_pause:
            return None
        end = (self._silent_from or 0) + AFTER_SAMPLES
        return Span(self._from, end) if self.position >= end else None

    @property
    def needed_from(self) -> int:
        """No later utterance begins before this."""
        return max(self.position - BEFORE_SAMPLES, 0) if self._from is None else self._from

    def feed(self, speech: Speech) -> Iterator[Span]:
        """Listen to what comes next; yield the utterances that ended in it."""
        waiting = np.concatenate([self._left, speech])
        whole = len(waiting) // WINDOW_SAMPLES * WINDOW_SAMPLES
        self._left = waiting[whole:]
        if whole == 0:
            return
        for number, probability in enumerate(self._activity.probabilities(waiting[:whole])):
            window = waiting[number * WINDOW_SAMPLES : (number + 1) * WINDOW_SAMPLES]
            yield from self._window(probability, float(np.square(window, dtype=np.float64).mean()))

    def flush(self) -> Iterator[Span]:
        """The utterance that goes on is over, as if silence had followed."""
        start, end = self.voice_from, self.position + len(self._left)
        self._from, self._voiced = None, 0
        if start is not None:
            self._last_end = end
            yield Span(start, end)

    def finish(self) -> Iterator[Span]:
        """The stream ends here: what is left is listened to, and the last utterance is over."""
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
        """The utterance has ended, unless what was heard was too short for a voice."""
        if self.voice_from is not None:
            self._last_end = end
            yield Span(self.voice_from, end)
        self._from, self._voiced = None, 0

    def _cut(self, cut: int) -> Iterator[Span]:
        """A part of the utterance has ended; the rest begins at the cut."""
        assert self._from is not None
        levels = self._levels[(cut - self._from) // WINDOW_SAMPLES :]
        was_voice = self.voice_from is not None
        yield from self._end(cut)
        silent = self._silent_from is not None and self._silent_from <= cut
        if was_voice and not silent:
            self._from, self._voiced, self._levels = cut, MIN_VOICED, levels

    def _quietest(self) -> int:
        """The middle of the quietest place since CUT_FROM_SAMPLES."""
        assert self._from is not None
        blocks = QUIET_BLOCK_SAMPLES // WINDOW_SAMPLES
        first = CUT_FROM_SAMPLES // WINDOW_SAMPLES
        sums = np.convolve(self._levels[first:], np.ones(blocks), "valid")
        return self._from + (first + int(sums.argmin()) + blocks // 2) * WINDOW_SAMPLES
