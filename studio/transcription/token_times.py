"""Times of texts from the path that aligns their tokens to frames of the encoder."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np

from studio.transcription.engine import TimedText

FRAME_S = 0.02
# Tokens before and after a text: start, language, task, no timestamps, end.
SPECIAL_TOKENS = 5


def fitting(tokens: Iterable[Sequence[int]], max_tokens: int) -> list[Sequence[int]]:
    """The tokens of the first texts that fit into a model that takes `max_tokens`."""
    kept: list[Sequence[int]] = []
    room = max_tokens - SPECIAL_TOKENS
    for one in tokens:
        room -= len(one)
        if room < 0:
            break
        kept.append(one)
    return kept


def timed_texts(
    tokens: Sequence[Sequence[int]],
    path: Sequence[tuple[int, int]],
    probabilities: Sequence[float],
) -> list[TimedText]:
    """The times of texts, each of at least one token.

    `path` has rows (number of a token, frame). Its last token is the end of the text.
    """
    numbers, frames = np.array(path).T
    begins = frames[np.pad(np.diff(numbers), (1, 0), constant_values=1) > 0]
    borders = [0, *accumulate(map(len, tokens))]
    return [
        TimedText(
            float(begins[first]) * FRAME_S,
            float(begins[last] if last < len(begins) else frames[-1] + 1) * FRAME_S,
            float(np.mean(probabilities[first:last])),
        )
        for first, last in pairwise(borders)
    ]
