"""Decodes windows token by token: greedy, beam search, or random sampling.

The rules are those of openai-whisper (Radford et al. 2022), except for the beam search, which lost
whole sentences: a hypothesis that skipped to the last sentence won, its variants with different
timestamps filled the beam, and the search stopped when enough of them had ended.

- Hypotheses are ranked by their text. For a timestamp, the rank uses the combined probability of
  all timestamps, and only the most likely one is followed. A text thus does not become improbable
  because the model is uncertain by some hundredths of a second where a segment ends.
- The first row of a window is the greedy hypothesis. It is never dropped, so the result ranks at
  least as high.
- A window is done when `hypotheses` texts have ended, including the greedy one, and no open
  hypothesis ranks higher. Repetitive hypotheses are not considered.

The windows of a batch are searched together; samples of one do not depend on the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from studio.transcription.interruption import may_go_on
from studio.transcription.openvino.logits import (
    NEVER,
    Floats,
    Integers,
    Scores,
    Tokens,
    apply_timestamp_rules,
)
from studio.transcription.openvino.networks import Decoding

# Lower bound for random numbers, because 0 has no logarithm.
MIN_DRAW = np.float32(2**-24)
# A loop: this many last text tokens repeat with a period of at most this many.
LOOP_TOKENS = 32
MAX_PERIOD = 10


@dataclass(frozen=True)
class Settings:
    """Search options. `hypotheses` is the beam size, or the number of samples if `temperature` is
    above 0.

    `max_tokens` limits a text. `suppressed` tokens never occur, and with `suppress_blank` a text
    does not begin with a blank or the end token. With `has_times`, the first timestamp is at most
    number `max_first_time`.
    """

    hypotheses: int
    temperature: float
    max_tokens: int
    suppressed: tuple[int, ...]
    suppress_blank: bool
    max_first_time: int
    has_times: bool = True


@dataclass(frozen=True)
class Hypothesis:
    """The tokens of a window without the end token, their mean log probability, and the
    probability of no speech.
    """

    tokens: list[int]
    score: float
    no_speech: float


def search(
    decoding: Decoding,
    prompts: Sequence[Sequence[int]],
    tokens: Tokens,
    settings: Settings,
    generators: Sequence[np.random.Generator],
) -> list[Hypothesis]:
    """Decode the windows of `decoding`. Each has a prompt, all of the same length, and a generator
    for random samples.
    """
    prompt = np.array(prompts, np.int64)
    count, length = prompt.shape
    start = int(np.argmax(prompt[0] == tokens.start))
    hidden = decoding.step(prompt, np.arange(count), np.array([start, length - 1]))
    scores = decoding.scores(hidden[:, 0], decoding.no_bias)
    silent = np.exp(scores.rest[:, tokens.no_speech - tokens.end] - scores.everything)
    texts = _Search(decoding, tokens, settings, generators).run(hidden[:, 1])
    return [
        Hypothesis(text.tokens, text.score, float(no_speech))
        for text, no_speech in zip(texts, silent, strict=True)
    ]


@dataclass(frozen=True)
class _Text:
    """An ended hypothesis: tokens, mean log probability, and rank."""

    tokens: list[int]
    score: float
    rank: float


@dataclass
class _Window:
    """The ended hypotheses of a window.

    When it `is_done`, no more are added, although its rows may be extended with those of others.
    """

    generator: np.random.Generator
    ended: list[_Text] = field(default_factory=list)
    follows_greedy: bool = True
    is_done: bool = False

    @property
    def best_rank(self) -> float:
        return max((text.rank for text in self.ended), default=float(NEVER))


class _Search:
    """The hypotheses as rows, the same number for each window, grouped by window.

    Each row has its tokens, the sum of their log probabilities, and the sum used for ranking.
    """

    def __init__(
        self,
        decoding: Decoding,
        tokens: Tokens,
        settings: Settings,
        generators: Sequence[np.random.Generator],
    ) -> None:
        count = len(generators)
        self._decoding = decoding
        self._tokens = tokens
        self._settings = settings
        self._windows = [_Window(generator) for generator in generators]
        self._open = list(self._windows)
        self._texts = np.zeros((count, 0), np.int64)
        self._sums = np.zeros(count, np.float32)
        self._ranks = np.zeros(count, np.float32)
        self._bias = decoding.no_bias.copy()
        self._bias[:, list(settings.suppressed)] = NEVER

    def run(self, hidden: Floats) -> list[_Text]:
        """Search from the states after the prompts, (windows, width); return the best texts."""
        bias = self._bias.copy()
        if self._settings.suppress_blank:
            bias[:, [self._tokens.blank, self._tokens.end]] = NEVER
        for _ in range(self._settings.max_tokens - 1):
            may_go_on()
            parents = self._choose(hidden, bias)
            done = self._done()
            if all(done):
                break
            parents = self._forget_done(parents, done)
            hidden = self._decoding.step(self._texts[:, -1:], parents)[:, 0]
            bias = self._bias
        else:
            self._choose(hidden, bias)
        self._end_open()
        nothing = _Text([], 0.0, 0.0)
        return [
            max(window.ended, key=lambda text: text.rank, default=nothing)
            for window in self._windows
        ]

    def _choose(self, hidden: Floats, bias: Floats) -> Integers:
        """Extend all rows. Returns the previous rows that the new ones continue."""
        scores = self._allowed(self._decoding.scores(hidden, bias))
        if self._settings.temperature > 0:
            return self._draw_tokens(scores, hidden, bias)
        return self._take_likeliest(scores)

    def _allowed(self, scores: Scores) -> Scores:
        if not self._settings.has_times:
            return scores
        return apply_timestamp_rules(
            scores, self._texts, self._tokens, self._settings.max_first_time
        )

    def _done(self) -> list[bool]:
        """The open windows that need no further step."""
        rows = len(self._texts) // len(self._open)
        ranks = self._normalised(self._ranks)
        for number, window in enumerate(self._open):
            window.is_done = window.is_done or (
                len(window.ended) >= self._settings.hypotheses
                and not self._is_worth_following(window, ranks, number * rows, rows)
            )
        return [window.is_done for window in self._open]

    def _is_worth_following(self, window: _Window, ranks: Floats, first: int, rows: int) -> bool:
        """Whether an open hypothesis is worth following: the greedy one, or one that ranks above
        all ended ones, unless it is repetitive.
        """
        if self._settings.temperature > 0 or self._settings.hypotheses == 1:
            return False
        best_rank = window.best_rank
        worth = [row for row in range(first, first + rows) if ranks[row] > best_rank]
        if window.follows_greedy and first not in worth:
            worth.append(first)
        return any(not repeats_itself(self._text_of(row)) for row in worth)

    def _text_of(self, row: int) -> Integers:
        tokens: Integers = self._texts[row]
        return tokens[tokens < self._tokens.end]

    def _normalised(self, ranks: Floats) -> Floats:
        """Rank sums per text token, so that timestamps do not improve a hypothesis."""
        lengths = np.sum(self._texts < self._tokens.end, axis=1)
        normalised: Floats = ranks / np.maximum(lengths, 1)
        return normalised

    def _end(self, window: _Window, row: int, total: float, rank: float) -> None:
        if window.is_done:
            return
        tokens = self._texts[row].tolist()
        length = sum(token < self._tokens.end for token in tokens)
        window.ended.append(_Text(tokens, total / max(len(tokens), 1), rank / max(length, 1)))

    def _take_likeliest(self, scores: Scores) -> Integers:
        count = self._settings.hypotheses
        tokens, sums, ranks = self._continuations(scores, count + 1)
        rows = len(self._texts) // len(self._open)
        parents: list[int] = []
        columns: list[int] = []
        for number, window in enumerate(self._open):
            for parent, column in self._best_first(window, ranks, number * rows, rows):
                if tokens[parent, column] != self._tokens.end:
                    parents.append(parent)
                    columns.append(column)
                elif ranks[parent, column] > NEVER:
                    self._end(
                        window, parent, float(sums[parent, column]), float(ranks[parent, column])
                    )
                    if window.follows_greedy and (parent, column) == (number * rows, 0):
                        window.follows_greedy = False
                if len(parents) == (number + 1) * count:
                    break
        chosen = np.array(parents), np.array(columns)
        self._texts = np.concatenate([self._texts[chosen[0]], tokens[chosen][:, None]], axis=1)
        self._sums, self._ranks = sums[chosen], ranks[chosen]
        return chosen[0]

    def _best_first(
        self, window: _Window, ranks: Floats, first: int, rows: int
    ) -> Iterator[tuple[int, int]]:
        """Rows and columns of a window's continuations: the greedy one, then by rank."""
        own = ranks[first : first + rows].reshape(-1)
        has_greedy = window.follows_greedy
        if has_greedy:
            yield first, 0
        for place in np.argsort(-own, kind="stable").tolist():
            row, column = divmod(place, ranks.shape[1])
            if place or not has_greedy:
                yield first + row, column

    def _continuations(self, scores: Scores, count: int) -> tuple[Integers, Floats, Floats]:
        """The most likely next tokens of each row, and its sums with each, (rows, count)."""
        ranked = scores.with_one_time(self._tokens) if self._settings.has_times else scores
        tokens, logits = ranked.likeliest(count)
        own = np.where(
            tokens >= self._tokens.times,
            np.take_along_axis(scores.rest, np.maximum(tokens - self._tokens.end, 0), axis=1),
            logits,
        )
        everything = scores.everything[:, None]
        sums: Floats = self._sums[:, None] + own - everything
        ranks: Floats = self._ranks[:, None] + logits - everything
        return tokens, sums, ranks

    def _draw_tokens(self, scores: Scores, hidden: Floats, bias: Floats) -> Integers:
        """Each row continues independently, with one row per requested sample."""
        parents = np.arange(len(self._texts))
        if not self._texts.shape[1]:
            parents = np.repeat(parents, self._settings.hypotheses)
            self._texts = self._texts[parents]
        # The maximum of logits with Gumbel noise is a sample from their softmax.
        shape = len(parents) // len(self._open), bias.shape[1]
        drawn = np.concatenate(
            [window.generator.standard_exponential(shape, np.float32) for window in self._open]
        )
        noise = -np.float32(self._settings.temperature) * np.log(np.maximum(drawn, MIN_DRAW))
        noisy = self._decoding.scores(hidden[parents], bias + noise)
        # The rules depend on the probabilities, not on the noise.
        noisy = replace(
            noisy,
            best=np.where(scores.total[parents, None] == NEVER, NEVER, noisy.best),
            rest=np.where(scores.rest[parents] == NEVER, NEVER, noisy.rest),
        )
        first, logits = noisy.likeliest(1)
        tokens = first[:, 0]
        log_probabilities = (logits - np.take_along_axis(noise, first, axis=1))[:, 0]
        # An ended text has no remaining probability.
        sums = self._sums[parents] + log_probabilities - scores.everything[parents]
        ended = np.isfinite(sums) & (tokens == self._tokens.end)
        for row in np.flatnonzero(ended).tolist():
            window = self._open[row * len(self._open) // len(parents)]
            self._end(window, row, float(sums[row]), float(sums[row]))
        self._texts = np.concatenate([self._texts, tokens[:, None]], axis=1)
        self._sums = self._ranks = np.where(ended, NEVER, sums)
        return parents

    def _forget_done(self, parents: Integers, done: Sequence[bool]) -> Integers:
        """Drop the rows of finished windows if that is worth the copying."""
        going = ~np.array(done)
        if 2 * going.sum() > len(going):
            return parents
        kept = np.repeat(going, len(parents) // len(going))
        self._decoding.keep(np.flatnonzero(going))
        self._open = [window for window, goes in zip(self._open, going, strict=True) if goes]
        self._texts, self._sums, self._ranks = (
            values[kept] for values in (self._texts, self._sums, self._ranks)
        )
        going_on: Integers = parents[kept]
        return going_on

    def _end_open(self) -> None:
        """End all open hypotheses, the most likely first."""
        rows = len(self._texts) // len(self._open)
        for number, window in enumerate(self._open):
            own = range(number * rows, (number + 1) * rows)
            for row in sorted(own, key=lambda row: -self._ranks[row]):
                if self._ranks[row] > NEVER and len(window.ended) < self._settings.hypotheses:
                    self._end(window, row, float(self._sums[row]), float(self._ranks[row]))


def repeats_itself(text: Integers) -> bool:
    """Whether a text ends in a repeated short sequence of tokens."""
    end = text[-LOOP_TOKENS:]
    return len(end) == LOOP_TOKENS and any(
        np.array_equal(end[period:], end[:-period]) for period in range(1, MAX_PERIOD + 1)
    )
