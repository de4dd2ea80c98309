"""The server with a speech engine as slow as `base` was measured to be, for `bench.live`.

The bundled model decodes; then the rest of the time that `base` would take is waited.
"""

import time
from collections.abc import Iterator, Sequence

from flask import Flask

from app import create_app
from studio.transcription.engine import DecodeOptions, Speech
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.transcript import Segment

WINDOW_S = 0.29
TOKEN_S = 0.005
# Timestamps, punctuation and words of two tokens come on top of the words.
TOKENS_PER_WORD = 1.5


def slow_app() -> Flask:
    """`create_app()` with the cost of `base` added to every window."""
    decode = FasterWhisper.transcribe

    def slowed(
        self: FasterWhisper, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        for window in windows:
            began_s = time.monotonic()
            (segments,) = decode(self, [window], options)
            words = sum(len(segment.words) for segment in segments)
            cost_s = WINDOW_S + TOKEN_S * TOKENS_PER_WORD * words
            time.sleep(max(0.0, cost_s - (time.monotonic() - began_s)))
            yield segments

    FasterWhisper.transcribe = slowed  # type: ignore[method-assign]
    return create_app()
