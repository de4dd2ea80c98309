"""Texts that are drawn at random: tokens come as often as they are probable, under the rules."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from studio.transcription.openvino.logits import (
    MOST_BEST,
    NEVER,
    Floats,
    Integers,
    Scores,
    Tokens,
    log_sum,
)
from studio.transcription.openvino.search import Settings, search

# Text of 100 tokens, six special ones, 60 timestamps.
TOKENS = Tokens(end=100, start=101, no_speech=104, no_times=105, blank=0)
VOCABULARY = TOKENS.times + 60
PROMPT = [[TOKENS.start, 102, 103]]
DRAWS = 4000


@dataclass
class Table:
    """Logits that are the same after every text, where a network would compute them."""

    logits: Floats

    @property
    def no_bias(self) -> Floats:
        return np.zeros((1, VOCABULARY), np.float32)

    def step(self, tokens: Integers, parents: Integers, wanted: Integers | None = None) -> Floats:
        return np.zeros((len(parents), 1 if wanted is None else len(wanted), 1), np.float32)

    def scores(self, hidden: Floats, bias: Floats) -> Scores:
        logits = np.repeat(self.logits[None], len(hidden), axis=0) + bias
        text = logits[:, : TOKENS.end]
        places = np.argsort(-text, axis=1)[:, :MOST_BEST]
        best = np.take_along_axis(text, places, axis=1)
        return Scores(TOKENS.end, best, places, log_sum(text), logits[:, TOKENS.end :])

    def keep(self, windows: Integers) -> None:
        raise AssertionError("there is one window")


def drawn(logits: Floats, temperature: float, position: int) -> Counter[int]:
    """How often which token came at a position of the text."""
    settings = Settings(1, temperature, position + 1, (TOKENS.no_times,), True, 0)
    generator = np.random.default_rng(5)
    table = Table(logits)
    found: Counter[int] = Counter()
    for _ in range(DRAWS):
        (text,) = search(table, PROMPT, TOKENS, settings, [generator])  # type: ignore[arg-type]
        found[text.tokens[position] if len(text.tokens) > position else TOKENS.end] += 1
    return found


def shares(probabilities: dict[int, float], temperature: float) -> dict[int, float]:
    powers = {token: share ** (1 / temperature) for token, share in probabilities.items()}
    return {token: power / sum(powers.values()) for token, power in powers.items()}


def logits_of(probabilities: dict[int, float]) -> Floats:
    logits = np.full(VOCABULARY, NEVER, np.float32)
    for token, share in probabilities.items():
        logits[token] = np.log(share)
    return logits


# The first token is a timestamp, and text follows it; then both may come.
@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_tokens_come_as_often_as_they_are_probable(temperature: float) -> None:
    times = {TOKENS.times + number: 0.3 / 60 for number in range(60)}
    everything = {5: 0.4, 6: 0.2, TOKENS.end: 0.1, **times}
    found = drawn(logits_of(everything), temperature, 1)
    text = {token: share for token, share in everything.items() if token <= TOKENS.end}
    for token, share in shares(text, temperature).items():
        assert found[token] == pytest.approx(DRAWS * share, abs=5 * np.sqrt(DRAWS) / 2)
    assert sum(found.values()) == sum(found[token] for token in text)


def test_the_rules_look_at_probabilities_and_not_at_the_draw() -> None:
    """Together, timestamps are less probable than the likeliest token: they stay improbable."""
    times = {TOKENS.times + number: 0.3 / 60 for number in range(60)}
    found = drawn(logits_of({5: 0.5, 6: 0.2, **times}), 0.3, 2)
    late = sum(count for token, count in found.items() if token >= TOKENS.times)
    assert late < 0.01 * DRAWS
    # Together, they are more probable than any other token: one of them comes.
    forced = drawn(logits_of({5: 0.25, 6: 0.2, 7: 0.2, **times}), 0.3, 2)
    assert all(token >= TOKENS.times for token in forced)


def test_what_is_next_to_impossible_does_not_come() -> None:
    rare = dict.fromkeys(range(10, 100), 1e-11)
    found = drawn(logits_of({5: 1.0, TOKENS.times: 1e-3, **rare}), 0.6, 1)
    assert found.keys() == {5}


def test_the_best_of_the_texts_that_are_drawn_is_given() -> None:
    table = Table(logits_of({5: 0.5, 6: 0.3, 7: 0.1, TOKENS.end: 0.1, TOKENS.times: 1e-3}))

    def mean_score(count: int) -> float:
        settings = Settings(count, 1.0, 8, (TOKENS.no_times,), True, 0)
        scores = []
        for seed in range(50):
            generators = [np.random.default_rng(seed)]
            (text,) = search(table, PROMPT, TOKENS, settings, generators)  # type: ignore[arg-type]
            scores.append(text.score)
        return float(np.mean(scores))

    assert mean_score(5) > mean_score(1) + 0.2
