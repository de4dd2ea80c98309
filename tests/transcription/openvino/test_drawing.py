"""Texts that are drawn at random: tokens come as often as they are probable, under the rules."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from studio.transcription.openvino.search import MIN_DRAW, Settings
from tests.support.table_network import TIME, TOKENS, TableNetwork, search_table

DRAWS = 4000


def drawn(probabilities: Mapping[int, float], temperature: float, position: int) -> Counter[int]:
    """How often each token came at a position of the text, where each has the same probability
    after every text.
    """
    settings = Settings(1, temperature, position + 1, (TOKENS.no_times,), True, 0)
    generators = [np.random.default_rng(5)] * DRAWS
    texts = search_table(TableNetwork(lambda _: probabilities), settings, generators)
    ended = [TOKENS.end] * (position + 1)
    return Counter([*text.tokens, *ended][position] for text in texts)


def shares(probabilities: Mapping[int, float], temperature: float) -> dict[int, float]:
    powers = {token: share ** (1 / temperature) for token, share in probabilities.items()}
    return {token: power / sum(powers.values()) for token, power in powers.items()}


# The first token is a timestamp, and text follows it; then both may come.
@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_tokens_come_as_often_as_they_are_probable(temperature: float) -> None:
    times = {TIME + number: 0.3 / 60 for number in range(60)}
    everything = {5: 0.4, 6: 0.2, TOKENS.end: 0.1, **times}
    found = drawn(everything, temperature, 1)
    text = {token: share for token, share in everything.items() if token <= TOKENS.end}
    for token, share in shares(text, temperature).items():
        assert found[token] == pytest.approx(DRAWS * share, abs=5 * np.sqrt(DRAWS) / 2)
    assert sum(found.values()) == sum(found[token] for token in text)


def test_the_rules_look_at_probabilities_and_not_at_the_draw() -> None:
    """Together, timestamps are less probable than the likeliest token: they stay improbable."""
    times = {TIME + number: 0.3 / 60 for number in range(60)}
    found = drawn({5: 0.5, 6: 0.2, **times}, 0.3, 2)
    late = sum(count for token, count in found.items() if token >= TIME)
    assert late < 0.01 * DRAWS
    # Together, they are more probable than any other token: one of them comes.
    forced = drawn({5: 0.25, 6: 0.2, 7: 0.2, **times}, 0.3, 2)
    assert all(token >= TIME for token in forced)


def test_what_is_next_to_impossible_does_not_come() -> None:
    rare = dict.fromkeys(range(10, 100), 1e-11)
    found = drawn({5: 1.0, TIME: 1e-3, **rare}, 0.6, 1)
    assert found.keys() == {5}


class Forced(np.random.Generator):
    """Draws one given text for each hypothesis."""

    def __init__(self, texts: list[list[int]]) -> None:
        super().__init__(np.random.PCG64(0))
        self._texts = texts
        self._position = 0

    def standard_exponential(  # type: ignore[override]
        self, size: tuple[int, int], dtype: npt.DTypeLike
    ) -> npt.NDArray[np.float32]:
        noise = np.ones(size, dtype)
        for row, text in enumerate(self._texts):
            # The least value is the strongest noise.
            noise[row, text[self._position] if self._position < len(text) else TOKENS.end] = (
                MIN_DRAW
            )
        self._position += 1
        return noise


def test_the_best_of_the_texts_that_are_drawn_is_given() -> None:
    """Wherever it stands among them: the one whose words are the likeliest, also if it is long."""
    best = [TIME, 5, 5, 5]
    others = [[TIME, 7], [TIME, 6], [TIME, 6, 6], [TIME, 5, 7]]
    network = TableNetwork(lambda _: {5: 0.5, 6: 0.3, 7: 0.1, TOKENS.end: 0.1, TIME: 1e-9})
    settings = Settings(5, 1.0, 8, (TOKENS.no_times,), True, 0)
    for place in range(5):
        texts = [*others[:place], best, *others[place:]]
        (text,) = search_table(network, settings, [Forced(texts)])
        assert text.tokens == best
        assert text.score == pytest.approx((3 * np.log(0.5) + np.log(0.1)) / 4)
