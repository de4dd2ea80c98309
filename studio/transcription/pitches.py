"""The pitches that a voice sings, for the notes of karaoke games.

SwiftF0 (https://github.com/lars76/swift-f0) finds them. Its network comes with its package.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.transcript import Transcript, Word

FILE = "pitches.npy"
FRAME_S = 0.016
LOWEST_HZ, HIGHEST_HZ = 60.0, 1400.0
MIN_CONFIDENCE = 0.5
# Words in which a pitch is heard in fewer frames have none.
MIN_FRAMES = 4

Pitches = npt.NDArray[np.float16]
"""The MIDI pitch of each frame of FRAME_S, NaN where none is heard."""


@cache
def _network() -> Any:
    from swift_f0 import SwiftF0

    # Idle threads would busy-wait between blocks, and one is fast enough.
    return SwiftF0(threads=1, spin=False)


class PitchFinder:
    """Finds the pitches of a stream of samples."""

    def __init__(self) -> None:
        self._stream = _network().stream(LOWEST_HZ, HIGHEST_HZ)
        self._found: list[Pitches] = []

    def add(self, speech: Speech) -> None:
        self._keep(self._stream.push(speech, RATE_HZ))

    def finish(self) -> Pitches:
        """The pitches of all frames, in the tuning of the singer."""
        self._keep(self._stream.flush())
        pitches = np.concatenate(self._found)
        voiced = pitches[np.isfinite(pitches)].astype(np.float64)
        # Songs that are between two keys of a piano get the nearest ones throughout.
        tuning = np.angle(np.exp(2j * np.pi * voiced).sum()) / (2 * np.pi) if len(voiced) else 0.0
        return pitches - np.float16(tuning)

    def _keep(self, estimate: Any) -> None:
        pitches = 69 + 12 * np.log2(np.maximum(estimate.pitch_hz, LOWEST_HZ) / 440)
        pitches[estimate.confidence < MIN_CONFIDENCE] = np.nan
        self._found.append(pitches.astype(np.float16))


def with_pitches(transcript: Transcript, pitches: Pitches) -> Transcript:
    """The transcript with the pitches of its words."""
    segments = (
        replace(one, words=tuple(_with_pitch(word, pitches) for word in one.words))
        for one in transcript.segments
    )
    return replace(transcript, segments=tuple(segments))


def _with_pitch(word: Word, pitches: Pitches) -> Word:
    part = pitches[round(word.start_s / FRAME_S) : round(word.end_s / FRAME_S)]
    voiced = part[np.isfinite(part)].astype(np.float32)
    if len(voiced) < MIN_FRAMES:
        return word
    return replace(word, pitch=round(float(np.median(voiced))))
