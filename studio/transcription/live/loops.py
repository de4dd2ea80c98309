"""Cuts what a model repeats over and over, as Whisper does on sounds it cannot place."""

from collections.abc import Sequence
from dataclasses import replace

from studio.transcription.engine import COMPRESSION_RATIO_MOST
from studio.transcription.live.agreement import plain
from studio.transcription.transcript import Segment, Word

MAX_PHRASE = 6
MAX_REPEATS = 3


Placed = tuple[int, Word]
"""A word and the number of its segment."""


def without_loops(segments: Sequence[Segment]) -> list[Segment]:
    """One utterance, a phrase that it says more than MAX_REPEATS times in a row said once.

    Only text that compresses unusually well is looked at: people do say "no, no, no, no". A loop
    may run through several segments; those of which nothing is left are left out.
    """
    doubtful = {
        number: segment
        for number, segment in enumerate(segments)
        if segment.compression_ratio > COMPRESSION_RATIO_MOST and segment.words
    }
    words = [(number, word) for number, segment in doubtful.items() for word in segment.words]
    count = 0
    while count != len(words):
        count = len(words)
        for length in range(1, MAX_PHRASE + 1):
            words = _once(words, length)
    kept_segments = []
    for number, segment in enumerate(segments):
        kept = tuple(word for place, word in words if place == number)
        if number not in doubtful or kept == segment.words:
            kept_segments.append(segment)
        elif kept:
            text = "".join(word.text for word in kept)
            kept_segments.append(replace(segment, words=kept, text=text, end_s=kept[-1].end_s))
    return kept_segments


def _once(words: list[Placed], length: int) -> list[Placed]:
    kept: list[Placed] = []
    said = [plain(word.text) for _, word in words]
    place = 0
    while place < len(words):
        phrase = said[place : place + length]
        count = 1
        while said[place + count * length : place + (count + 1) * length] == phrase:
            count += 1
        if count > MAX_REPEATS and len(phrase) == length:
            kept += words[place : place + length]
            place += count * length
        else:
            kept.append(words[place])
            place += 1
    return kept
