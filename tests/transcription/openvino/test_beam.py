"""The beam keeps what is likelier, whatever timestamps and early ends suggest.

Each test has a network of its own: a table of what follows which text, as probabilities.
"""

from collections.abc import Mapping

import numpy as np
import pytest

from studio.transcription.openvino.search import Hypothesis, Settings, repeats_itself
from tests.support.table_network import TIME, TOKENS, Next, TableNetwork, search_table

Table = Mapping[tuple[int, ...], Mapping[int, float]]
"""What may follow a text without its timestamps, and how probably."""


def tokens_after(table: Table) -> Next:
    def next_tokens(text: tuple[int, ...]) -> Mapping[int, float]:
        # A second timestamp ends a pair, and then the text goes on.
        if len(text) > 1 and text[-1] >= TIME and text[-2] < TIME:
            return {text[-1]: 1.0}
        said = tuple(token for token in text if token < TOKENS.end)
        return table.get(said, {TOKENS.end: 1.0})

    return next_tokens


def found(table: Table, beam_size: int, max_tokens: int = 100) -> Hypothesis:
    return found_together([table], beam_size, max_tokens)[0]


def found_together(tables: list[Table], beam_size: int, max_tokens: int = 100) -> list[Hypothesis]:
    """The texts of a batch, whose windows have one table each."""
    settings = Settings(beam_size, 0.0, max_tokens, (TOKENS.no_times,), True, 50)
    network = TableNetwork(*map(tokens_after, tables))
    return search_table(network, settings, [np.random.default_rng(0) for _ in tables])


def text_of(text: Hypothesis) -> list[int]:
    return [token for token in text.tokens if token < TOKENS.end]


def rank(text: Hypothesis) -> float:
    """Log probability of all tokens, for each of those that say something."""
    return text.score * len(text.tokens) / max(len(text_of(text)), 1)


def spread(share: float, first: int = 1) -> dict[int, float]:
    """Timestamps that the model is unsure about."""
    return {TIME + number: share / 10 for number in range(first, first + 10)}


WHOLE = list(range(1, 13))


def skipping() -> dict[tuple[int, ...], dict[int, float]]:
    """Twelve words, or the last two of them at once; after each word of the whole text comes one
    of many timestamps rather than the next word."""
    table: dict[tuple[int, ...], dict[int, float]] = {
        (): {TIME: 0.9, 1: 0.55, 11: 0.45},
        (11,): {12: 1.0},
        (11, 12): {TOKENS.end: 1.0},
    }
    for number in range(1, 12):
        table[tuple(WHOLE[:number])] = {WHOLE[number]: 0.45, **spread(0.55, 4 * number)}
    table[tuple(WHOLE)] = {TOKENS.end: 0.9, **spread(0.1, 49)}
    return table


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_a_text_does_not_lose_to_one_that_skips_to_its_end(beam_size: int) -> None:
    assert text_of(found(skipping(), beam_size)) == WHOLE


def test_timestamps_take_one_place_of_the_beam() -> None:
    """With both of them, the better text would fall out of a beam of two."""
    table: dict[tuple[int, ...], dict[int, float]] = {
        (): {TIME: 1.0, 1: 0.8, 2: 0.2},
        (1,): {3: 0.001, TIME + 1: 0.4995, TIME + 2: 0.4995},
        (1, 3): {TOKENS.end: 0.05, **dict.fromkeys(range(50, 70), 0.95 / 20)},
    }
    for number in range(4, 20):
        table[(2, *range(4, number))] = {number: 1.0}
    table[(2, *range(4, 20))] = {TOKENS.end: 1.0}
    assert text_of(found(table, 2)) == [2, *range(4, 20)]


@pytest.mark.parametrize("beam_size", [2, 3, 5])
def test_a_beam_is_at_least_as_likely_as_greedy_search(beam_size: int) -> None:
    rng = np.random.default_rng(beam_size)
    for _ in range(20):
        table: dict[tuple[int, ...], dict[int, float]] = {(): {TIME: 1.0, 1: 0.5, 2: 0.3, 3: 0.2}}
        texts: list[tuple[int, ...]] = [(1,), (2,), (3,)]
        while texts:
            text = texts.pop()
            shares = rng.dirichlet(np.full(4, 0.4))
            tokens = [1, 2, 3, TOKENS.end] if len(text) < 6 else [TOKENS.end]
            table[text] = dict(zip(tokens, shares / shares[: len(tokens)].sum(), strict=False))
            texts += [(*text, token) for token in tokens if token != TOKENS.end]
        assert rank(found(table, beam_size)) >= rank(found(table, 1)) - 1e-6


def test_a_loop_is_not_followed_to_the_bound() -> None:
    """A greedy hypothesis that never ends is given up once it repeats itself."""
    table = {(): {TIME: 1.0, 1: 0.6, 2: 0.4}, (2,): {TOKENS.end: 1.0}}
    table |= {(1,) * count: {1: 0.9, TOKENS.end: 0.1} for count in range(1, 300)}
    assert len(found(table, 2, max_tokens=224).tokens) < 60


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_window_that_is_done_keeps_its_text_while_others_go_on(beam_size: int) -> None:
    """What its rows would say in the meantime, a loop, ranks above the text."""
    looping: dict[tuple[int, ...], dict[int, float]] = {
        (): {TIME: 1.0, 1: 1.0},
        (1,): {TOKENS.end: 0.7, 3: 0.3},
    }
    for count in range(1, 40):
        looping[(1, *[3] * count)] = {3: 0.99, TOKENS.end: 0.01}
    text = list(range(10, 70))
    long = {tuple(text[:count]): {token: 1.0} for count, token in enumerate(text)}
    long[()] = {TIME: 1.0, 10: 1.0}
    assert text_of(found(looping, beam_size)) == [1]
    texts = [text_of(one) for one in found_together([looping, long, long], beam_size)]
    assert texts == [[1], text, text]


def test_what_repeats_itself() -> None:
    assert repeats_itself(np.array([9, 8, *[1, 2, 3] * 12]))
    assert not repeats_itself(np.array([1, 2, 3] * 9))
    assert not repeats_itself(np.arange(100))
