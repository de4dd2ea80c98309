"""Voice activity detection with Silero's network, which faster-whisper includes.

https://github.com/snakers4/silero-vad. A voice begins where its probability reaches VOICE_AT and
ends where it stays below SILENCE_BELOW.
"""

from functools import cache
from typing import Any

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.faster_whisper_import import import_faster_whisper

# Samples at RATE_HZ per network call, and preceding context samples.
WINDOW_SAMPLES = 512
CONTEXT_SAMPLES = 64
VOICE_AT = 0.5
SILENCE_BELOW = 0.35


def speech_spans(speech: Speech, max_span_s: float) -> list[tuple[int, int]]:
    """The speech regions as (start, end) in samples, in order, each at most `max_span_s` long."""
    if len(speech) == 0:
        return []
    vad = import_faster_whisper().vad
    spans = vad.get_speech_timestamps(
        speech,
        vad.VadOptions(
            threshold=VOICE_AT,
            neg_threshold=SILENCE_BELOW,
            min_speech_duration_ms=100,
            max_speech_duration_s=max_span_s,
            min_silence_duration_ms=500,
            speech_pad_ms=200,
        ),
        RATE_HZ,
    )
    return [(int(span["start"]), int(span["end"])) for span in spans]


@cache
def _network() -> Any:
    return import_faster_whisper().vad.get_vad_model().session


class VoiceActivity:
    """Silero's network with the state of one stream."""

    def __init__(self) -> None:
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, np.float32)

    def probabilities(self, windows: Speech) -> list[float]:
        """The probability of a voice in each window; `windows` is (count * WINDOW_SAMPLES,)."""
        extended = np.concatenate([self._context, windows])
        rows = np.stack([
            extended[start : start + CONTEXT_SAMPLES + WINDOW_SAMPLES]
            for start in range(0, len(windows), WINDOW_SAMPLES)
        ])  # fmt: skip
        probabilities, self._hidden, self._cell = _network().run(
            None, {"input": rows, "h": self._hidden, "c": self._cell}
        )
        self._context = extended[-CONTEXT_SAMPLES:]
        return [float(value) for value in np.asarray(probabilities).reshape(-1)]
