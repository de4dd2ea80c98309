"""Logits of the next token, and the rules for timestamps.

The rules are those of openai-whisper (Radford et al. 2022).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

NEVER = np.float32(-np.inf)
# The number of most likely text tokens considered: one more than the widest beam.
MAX_BEST = 21


@dataclass(frozen=True)
class Tokens:
    """The special tokens of a vocabulary; timestamps range from `times` to the last token.

    All tokens before `end`, the end of text, are text tokens.
    """

    end: int
    start: int
    no_speech: int
    no_times: int
    blank: int

    @property
    def times(self) -> int:
        return self.no_times + 1


@dataclass(frozen=True)
class Scores:
    """Logits of the next token of each row, float32.

    `best` (rows, MAX_BEST) are the highest of the text tokens, in descending order, and `places`
    their tokens. `total` (rows,) is the log of the sum of exponentials over all text tokens. `rest`
    (rows, others) are the logits of the tokens from `end` on.
    """

    end: int
    best: Floats
    places: Integers
    total: Floats
    rest: Floats

    @property
    def everything(self) -> Floats:
        """The log of the sum of exponentials over all tokens, (rows,)."""
        combined: Floats = np.logaddexp(self.total, log_sum(self.rest))
        return combined

    def likeliest(self, count: int) -> tuple[Integers, Floats]:
        """The most likely tokens of each row and their logits, (rows, count), in order."""
        behind = np.argpartition(-self.rest, count, axis=1)[:, :count]
        logits = np.concatenate(
            [self.best[:, :count], np.take_along_axis(self.rest, behind, axis=1)], axis=1
        )
        tokens = np.concatenate([self.places[:, :count], behind + self.end], axis=1)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(tokens, order, axis=1), np.take_along_axis(logits, order, axis=1)

    def with_one_time(self, tokens: Tokens) -> "Scores":
        """The scores with only the most likely timestamp, which gets the combined logit of all
        timestamps."""
        first = tokens.times - self.end
        times = self.rest[:, first:]
        rest = self.rest.copy()
        rest[:, first:] = NEVER
        rest[np.arange(len(rest)), first + times.argmax(axis=1)] = log_sum(times)
        return replace(self, rest=rest)


def apply_timestamp_rules(
    scores: Scores, texts: Integers, tokens: Tokens, max_first_time: int
) -> Scores:
    """Apply the rules for timestamps after `texts`, (rows, tokens so far).

    The first token is a timestamp up to number `max_first_time`. Later timestamps come in pairs,
    except before the end, and never decrease. If all timestamps together are more likely than any
    other token, a timestamp follows.
    """
    rest = scores.rest.copy()
    others, times = np.split(rest, [tokens.times - tokens.end], axis=1)
    others[:, tokens.no_times - tokens.end] = NEVER
    if not texts.shape[1]:
        others[:] = NEVER
        times[:, max_first_time + 1 :] = NEVER
        is_text = np.zeros(len(rest), bool)
    else:
        is_time = texts >= tokens.times
        was_time = is_time[:, -1]
        began_pair = was_time & ~is_time[:, -2] if texts.shape[1] > 1 else np.zeros_like(was_time)
        is_text = ~began_pair
        times[was_time & ~began_pair] = NEVER
        last = np.where(is_time, texts - tokens.times, -1).max(axis=1)
        # A segment must end after its start.
        first = last + (1 - began_pair) * (last >= 0)
        times[np.arange(times.shape[1]) < first[:, None]] = NEVER
    most_other = np.maximum(np.where(is_text, scores.best[:, 0], NEVER), others.max(axis=1))
    must = log_sum(times) > most_other
    others[must] = NEVER
    is_text &= ~must
    return replace(
        scores,
        best=np.where(is_text[:, None], scores.best, NEVER),
        total=np.where(is_text, scores.total, NEVER),
        rest=rest,
    )


def log_sum(values: Floats) -> Floats:
    """The log of the sum of exponentials of each row."""
    most = values.max(axis=1, keepdims=True)
    most[most == NEVER] = 0.0
    with np.errstate(divide="ignore"):
        log_sums: Floats = np.log(np.exp(values - most).sum(axis=1)) + most[:, 0]
    return log_sums
