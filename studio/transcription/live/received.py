"""The received audio of a session, as long as it may still be decoded."""

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.endpoints import Span

# Shorter utterances are padded with silence before decoding.
SHORTEST_S = 1.0
# Audio this far ahead of real time comes from a file, not from a speaker.
FILE_AHEAD_S = 10.0


class ReceivedAudio:
    """The latest samples at `RATE_HZ`; positions count from the beginning of the session."""

    def __init__(self) -> None:
        self._samples: Speech = np.zeros(0, np.float32)
        self._start = 0

    def __len__(self) -> int:
        """The number of samples that are kept."""
        return len(self._samples)

    @property
    def end(self) -> int:
        """The number of samples received so far."""
        return self._start + len(self)

    @property
    def end_s(self) -> float:
        return self.end / RATE_HZ

    def append(self, speech: Speech) -> None:
        self._samples = np.concatenate([self._samples, speech])

    def between(self, span: Span) -> Speech:
        """A copy of the samples of an utterance, padded to at least `SHORTEST_S`."""
        samples = self._samples[span.start - self._start : span.end - self._start]
        missing = round(SHORTEST_S * RATE_HZ) - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples.copy()

    def discard_before(self, position: int) -> None:
        if position > self._start:
            self._samples = self._samples[position - self._start :].copy()
            self._start = position


class ArrivalPace:
    """Whether audio comes faster than anybody speaks, so that nobody waits for its text.

    `patience_s` is how much audio may wait to be decoded.
    """

    def __init__(self, patience_s: float, now_s: float) -> None:
        self.is_file = False
        self._ahead_s = min(FILE_AHEAD_S, patience_s / 2)
        # When all audio was last decoded, and how much there was.
        self._caught_up_s, self._received_s = now_s, 0.0

    def caught_up(self, received_s: float, now_s: float) -> None:
        """Note that all audio before this has been decoded."""
        self.is_file = False
        self._caught_up_s, self._received_s = now_s, received_s

    def note_backlog(self, received_s: float, now_s: float) -> None:
        """Note that audio has to wait until there is room for it; `received_s` includes it.

        On a slow machine, that of a speaker has to wait as well.
        """
        if received_s - self._received_s - (now_s - self._caught_up_s) > self._ahead_s:
            self.is_file = True
