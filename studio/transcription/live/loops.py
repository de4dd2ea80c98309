"""Cuts what a model repeats over and over, as Whisper does on sounds it cannot place."""

from dataclasses import replace

from studio.transcription.engine import COMPRESSION_RATIO_MOST
from studio.transcription.live.agreement import plain
from studio.transcription.transcript import Segment, Word

LONGEST_PHRASE = 6
MOST_REPEATS = 3


def without_loops(segment: Segment) -> Segment:
    """The segment with a phrase that is said more than MOST_REPEATS times in a row said once.

    Only text that compresses unusually well is looked at: people do say "no, no, no, no".
    """
    words = list(segment.words)
    if segment.compression_ratio <= COMPRESSION_RATIO_MOST or not words:
        return segment
    count = 0
    while count != len(words):
        count = len(words)
        for length in range(1, LONGEST_PHRASE + 1):
            words = _once(words, length)
    text = "".join(word.text for word in words)
    return replace(segment, words=tuple(words), text=text, end_s=words[-1].end_s)


def _once(words: list[Word], length: int) -> list[Word]:
    kept: list[Word] = []
    place = 0
    while place < len(words):
        phrase = [plain(word.text) for word in words[place : place + length]]
        count = 1
        while [
            plain(word.text)
            for word in words[place + count * length : place + (count + 1) * length]
        ] == phrase:
            count += 1
        if count > MOST_REPEATS and len(phrase) == length:
            kept += words[place : place + length]
            place += count * length
        else:
            kept.append(words[place])
            place += 1
    return kept
