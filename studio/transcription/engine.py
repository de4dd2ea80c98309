"""The seam of speech recognition: what every engine can do, and what it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from studio.transcription.transcript import Segment

RATE_HZ = 16_000

Speech = npt.NDArray[np.float32]
"""float32 (samples,) at RATE_HZ, full scale 1.0."""

# Thresholds of Radford et al. 2022, section 4.5: beyond them a result is decoded again at a higher
# temperature, or taken for silence.
COMPRESSION_RATIO_MOST = 2.4
AVERAGE_LOG_PROBABILITY_LEAST = -1.0
NO_SPEECH_PROBABILITY_MOST = 0.6


@dataclass(frozen=True)
class DecodeOptions:
    """How windows are decoded. `temperatures` are tried in order.

    `most_tokens` bounds the text of one window; None: what the model can hold.
    """

    language: str
    task: str = "transcribe"
    initial_prompt: str | None = None
    hotwords: str | None = None
    word_timestamps: bool = True
    beam_size: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    most_tokens: int | None = None


class SpeechEngine(Protocol):
    """A loaded model. Shared by every caller; its methods may be called from several threads."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def note(self) -> str | None:
        """Why it does not run on the device that was wanted."""

    @property
    def is_multilingual(self) -> bool: ...

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        """Code and probability of the language in the first 30 s."""

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        """For each window, in order, its segments, with times from the window's start.

        Several windows of at most 30 s each are decoded at the same time; a single one may be
        longer.
        """


def rehearse(engine: SpeechEngine) -> None:
    """Use an engine once, on a second of silence."""
    silence = np.zeros(RATE_HZ, np.float32)
    for _ in engine.transcribe([silence], DecodeOptions("en", temperatures=(0.0,))):
        pass


def is_silence(
    segment: Segment, least_log_probability: float = AVERAGE_LOG_PROBABILITY_LEAST
) -> bool:
    """Whether the model itself takes a segment for silence, or its text has no word in it.

    It is silence if nobody is likely to speak and its text is less probable than given.
    """
    doubtful = segment.average_log_probability < least_log_probability
    silent = segment.no_speech_probability > NO_SPEECH_PROBABILITY_MOST
    return not any(map(str.isalnum, segment.text)) or (silent and doubtful)
