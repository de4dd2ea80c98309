"""The interface of speech engines, and their options."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from studio.transcription.transcript import Segment, Word

RATE_HZ = 16_000

Speech = npt.NDArray[np.float32]
"""float32 (samples,) at RATE_HZ, full scale 1.0."""

# Thresholds of Radford et al. 2022, section 4.5: beyond them a window is decoded again at a higher
# temperature, or treated as silence.
MAX_COMPRESSION_RATIO = 2.4
MIN_AVERAGE_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6


def plain_text(text: str) -> str:
    """The text without special tokens such as `<|notimestamps|>`, which vocabularies encode."""
    return text.replace("<|", "< |")


@dataclass(frozen=True)
class DecodeOptions:
    """Decoding options. `temperatures` are tried in order. The texts are made `plain_text`.

    `max_tokens` limits the text of one window; None: the limit of the model.
    """

    language: str
    task: str = "transcribe"
    initial_prompt: str | None = None
    hotwords: str | None = None
    word_timestamps: bool = True
    beam_size: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("initial_prompt", "hotwords"):
            if text := getattr(self, name):
                object.__setattr__(self, name, plain_text(text))


@dataclass(frozen=True)
class TimedText:
    """When a text is said, in seconds, and its mean probability after what was said before."""

    start_s: float
    end_s: float
    probability: float


class SpeechEngine(Protocol):
    """A loaded model, shared by all callers. Thread-safe."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def note(self) -> str | None:
        """Why it does not run on the requested device, if so."""

    @property
    def languages(self) -> frozenset[str]:
        """The language codes that the model accepts; English alone for English models."""

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        """The code and probability of the language in the first 30 s."""

    def max_windows(self, beam_size: int) -> int:
        """How many windows are decoded together; more are decoded in several batches."""

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        """Yield the segments of each window, in order, with times relative to the window.

        Several windows, of at most 30 s each, are decoded together; a single one may be longer.
        """

    def align(self, speech: Speech, texts: Sequence[str], language: str) -> list[TimedText]:
        """Place texts that are said one after the other, in at most 30 s of speech.

        Each text has the space before it. The texts at the end that are too many for the model are
        left out.
        """


def rehearse(engine: SpeechEngine) -> None:
    """Warm up an engine with a second of silence."""
    silence = np.zeros(RATE_HZ, np.float32)
    for _ in engine.transcribe([silence], DecodeOptions("en", temperatures=(0.0,))):
        pass


def whole_words(words: Sequence[Word]) -> tuple[Word, ...]:
    """Join the pieces of English words, each of which begins with a space.

    In a translation from Chinese, Japanese or Thai, engines take each token for a word.
    """
    groups: list[list[Word]] = []
    for word in words:
        if groups and not word.text.startswith(" "):
            groups[-1].append(word)
        else:
            groups.append([word])
    return tuple(map(_joined, groups))


def _joined(parts: Sequence[Word]) -> Word:
    probability = sum(part.probability for part in parts) / len(parts)
    text = "".join(part.text for part in parts)
    return Word(text, parts[0].start_s, parts[-1].end_s, round(probability, 4))


def is_silence(segment: Segment, min_log_probability: float = MIN_AVERAGE_LOG_PROBABILITY) -> bool:
    """Whether the model classifies a segment as silence, or its text contains no word.

    A segment is silence if speech is improbable and its text is less probable than the threshold.
    """
    doubtful = segment.average_log_probability < min_log_probability
    silent = segment.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
    return not any(map(str.isalnum, segment.text)) or (silent and doubtful)
