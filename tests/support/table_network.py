"""A decoder whose next tokens are read from a table, for tests of the search."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from studio.transcription.openvino.logits import (
    MAX_BEST,
    NEVER,
    Floats,
    Integers,
    Scores,
    Tokens,
    log_sum,
)
from studio.transcription.openvino.search import Hypothesis, Settings, search

# 100 tokens of text, six special ones, 60 timestamps.
TOKENS = Tokens(end=100, start=101, no_speech=104, no_times=105, blank=0)
TIME = TOKENS.times
VOCABULARY = TIME + 60
PROMPT = [TOKENS.start, 102, 103]

Next = Callable[[tuple[int, ...]], Mapping[int, float]]
"""The probability of each token that may follow a text, which is given as its tokens so far."""


class TableNetwork:
    """Answers the search in place of a network, with one table for all windows, or one for each.

    The windows and texts of its rows are its cache.
    """

    def __init__(self, *tables: Next) -> None:
        self.no_bias: Floats = np.zeros((1, VOCABULARY), np.float32)
        self._texts: list[tuple[int, tuple[int, ...]]] = []
        self._logits = cache(
            lambda window, text: logits_of(tables[window % len(tables)](text)),
        )

    def step(self, tokens: Integers, parents: Integers, wanted: Integers | None = None) -> Floats:
        if wanted is not None:
            self._texts = [(window, ()) for window in range(len(tokens))]
            return np.zeros((len(tokens), len(wanted), 1), np.float32)
        self._texts = [
            (self._texts[parent][0], (*self._texts[parent][1], token))
            for parent, token in zip(parents.tolist(), tokens[:, 0].tolist(), strict=True)
        ]
        return np.zeros((len(tokens), 1, 1), np.float32)

    def scores(self, hidden: Floats, bias: Floats) -> Scores:
        # The first tokens of all texts are drawn from one row.
        texts = self._texts if len(self._texts) == len(hidden) else self._texts * len(hidden)
        logits = np.stack([self._logits(*text) for text in texts]) + bias
        text = logits[:, : TOKENS.end]
        places = np.argsort(-text, axis=1, kind="stable")[:, :MAX_BEST]
        best = np.take_along_axis(text, places, axis=1)
        return Scores(TOKENS.end, best, places, log_sum(text), logits[:, TOKENS.end :])

    def keep(self, windows: Integers) -> None:
        raise AssertionError("most windows are searched to the end")


def logits_of(probabilities: Mapping[int, float]) -> Floats:
    logits = np.full(VOCABULARY, NEVER, np.float32)
    for token, probability in probabilities.items():
        logits[token] = np.log(probability)
    return logits


def search_table(
    network: TableNetwork, settings: Settings, generators: Sequence[np.random.Generator]
) -> list[Hypothesis]:
    """The text of each window; there are as many as generators."""
    prompts = [PROMPT] * len(generators)
    return search(network, prompts, TOKENS, settings, generators)  # type: ignore[arg-type]
