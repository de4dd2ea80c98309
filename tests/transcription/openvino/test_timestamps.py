"""Whisper's rules for timestamps: what may follow which text."""

import numpy as np
import numpy.typing as npt
import pytest

from studio.transcription.openvino.logits import (
    NEVER,
    Integers,
    Scores,
    Tokens,
    apply_timestamp_rules,
)

# Ten tokens of text, six special ones, twenty timestamps.
TOKENS = Tokens(end=10, start=11, no_speech=14, no_times=15, blank=0)
TIME = TOKENS.times
MAX_FIRST_TIME = 5
BEST = 4


def scores(text: float, end: float, times: float) -> Scores:
    """One row in which all tokens of text have a logit, the end, and all timestamps."""
    rest = np.full((1, 26), NEVER, np.float32)
    rest[0, 0] = end
    rest[0, TOKENS.no_times - TOKENS.end] = 50.0
    rest[0, TIME - TOKENS.end :] = times
    total = np.array([text + np.log(10)], np.float32)
    best, places = np.full((1, BEST), text, np.float32), np.arange(BEST)[None]
    return Scores(TOKENS.end, best, places, total, rest)


def allowed(*text: int, given: Scores | None = None) -> set[str | int]:
    """`text`, `end` and the numbers of the timestamps that may follow."""
    texts: Integers = np.array([text], np.int64).reshape(1, -1)
    found = apply_timestamp_rules(given or scores(5.0, 5.0, 0.0), texts, TOKENS, MAX_FIRST_TIME)
    rest: npt.NDArray[np.float32] = found.rest[0]
    names: set[str | int] = set()
    if found.best[0, 0] > NEVER:
        assert found.total[0] > NEVER
        names.add("text")
    if rest[0] > NEVER:
        names.add("end")
    assert rest[TOKENS.no_times - TOKENS.end] == NEVER
    times = rest[TIME - TOKENS.end :] > NEVER
    return names | {int(number) for number in np.flatnonzero(times)}


def test_a_text_begins_with_a_timestamp_that_is_not_late() -> None:
    assert allowed() == set(range(MAX_FIRST_TIME + 1))


def test_after_the_first_timestamp_comes_text() -> None:
    assert allowed(TIME + 3) == {"text", "end"}


def test_after_text_comes_more_the_end_or_a_later_timestamp() -> None:
    assert allowed(TIME + 3, 1) == {"text", "end", *range(4, 20)}


def test_a_segment_that_ended_is_followed_by_the_start_of_the_next_or_the_end() -> None:
    assert allowed(TIME + 3, 1, TIME + 7) == {"end", *range(7, 20)}


def test_after_a_pair_comes_text() -> None:
    assert allowed(TIME + 3, 1, TIME + 7, TIME + 9) == {"text", "end"}
    assert allowed(TIME + 3, 1, TIME + 7, TIME + 9, 2) == {"text", "end", *range(10, 20)}


@pytest.mark.parametrize(("times", "is_forced"), [(1.0, False), (3.0, True)])
def test_timestamps_that_together_are_likelier_than_any_token_follow(
    times: float, is_forced: bool
) -> None:
    """Sixteen of them: their sum is 2.8 above one of them."""
    found = allowed(TIME + 3, 1, given=scores(5.0, 4.0, times))
    assert found == ({*range(4, 20)} if is_forced else {"text", "end", *range(4, 20)})


def test_rows_have_rules_of_their_own() -> None:
    one = scores(5.0, 5.0, 0.0)
    both = Scores(
        one.end,
        np.repeat(one.best, 2, axis=0),
        np.repeat(one.places, 2, axis=0),
        np.repeat(one.total, 2, axis=0),
        np.repeat(one.rest, 2, axis=0),
    )
    texts = np.array([[TIME + 3, 1, TIME + 7], [TIME, 1, 1]])
    found = apply_timestamp_rules(both, texts, TOKENS, MAX_FIRST_TIME)
    assert (found.best[:, 0] > NEVER).tolist() == [False, True]
    times = found.rest[:, TIME - TOKENS.end :] > NEVER
    assert [int(np.argmax(row)) for row in times] == [7, 1]
