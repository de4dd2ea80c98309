"""The tokens that occur, numbered without gaps for training, and back to Whisper's own numbers.

Training numbers: first the `TEXT` tokens (words, full stop, specials), then one number, UNUSED,
for all other tokens of Whisper's vocabulary, then the 1,501 timestamps.
"""

from __future__ import annotations

import functools

from whisper.tokenizer import Tokenizer, get_tokenizer

from .words import VOCABULARY

VOCABULARY_SIZE = 51865
TIMESTAMPS = 1501
TIMESTAMP_S = 0.02


@functools.cache
def tokenizer() -> Tokenizer:
    """Whisper's multilingual tokenizer, set to English transcription."""
    return get_tokenizer(True, language="en", task="transcribe")


@functools.cache
def word_tokens() -> tuple[tuple[int, ...], ...]:
    """Whisper's token numbers of every word of the vocabulary, with a space before it."""
    return tuple(tuple(tokenizer().encode(f" {word}")) for word in VOCABULARY)


@functools.cache
def text_tokens() -> tuple[int, ...]:
    """Whisper's numbers of the tokens that occur, timestamps aside; the order is the training's."""
    names = tokenizer()
    specials = (
        names.eot, names.sot, names.to_language_token("en"), names.transcribe,
        names.sot_prev, names.no_speech, names.no_timestamps, *names.encode("."),
    )  # fmt: skip
    spoken = sorted({number for word in word_tokens() for number in word})
    return (*specials, *spoken)


EOT, SOT, ENGLISH, TRANSCRIBE, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS, FULL_STOP = range(8)
UNUSED = len(text_tokens())
FIRST_TIMESTAMP = UNUSED + 1
SIZE = FIRST_TIMESTAMP + TIMESTAMPS
UNUSED_COUNT = VOCABULARY_SIZE - TIMESTAMPS - UNUSED


@functools.cache
def word_numbers() -> tuple[tuple[int, ...], ...]:
    """The training numbers of every word's tokens."""
    numbers = {number: place for place, number in enumerate(text_tokens())}
    return tuple(tuple(numbers[number] for number in word) for word in word_tokens())


def timestamp(time_s: float) -> int:
    """The training number of the timestamp nearest to a time."""
    return FIRST_TIMESTAMP + min(TIMESTAMPS - 1, max(0, round(time_s / TIMESTAMP_S)))
