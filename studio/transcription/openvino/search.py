"""Finds the text of windows token by token: greedily, with a beam, or by drawing at random.

The rules are those of the program of Radford et al. 2022. The beam differs from it, because it lost
whole sentences: a hypothesis that skipped to the last sentence won, its variants with other
timestamps filled the beam, and the search ended when enough of them had ended.

- Hypotheses are ranked by what they say. Where a timestamp comes next, the rank counts the
  probability of all timestamps together, and only the likeliest one is followed. A text does not
  become unlikely because the model is unsure by some hundredths of a second where a segment ends.
- The first row of a window is the greedy hypothesis. It is never dropped, so that the text that is
  found ranks at least as high.
- A window is done when `hypotheses` texts have ended, the greedy one among them, and no open
  hypothesis ranks higher. Hypotheses that repeat themselves are not waited for.

Windows of a batch are searched together; what is drawn for one does not depend on the others.
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
    obeying,
)
from studio.transcription.openvino.networks import Decoding

# Some of what is drawn is rounded to 0, which has no logarithm.
LEAST = np.float32(2**-24)
# A loop: the last so many tokens of text repeat with a period of at most so many.
LOOP_TOKENS = 32
MAX_PERIOD = 10


@dataclass(frozen=True)
class Settings:
    """How windows are searched: `hypotheses` is the beam, or how many texts are drawn where
    `temperature` is above 0.

    `most_tokens` bounds a text; `suppressed` tokens are never given, and with `suppress_blank` none
    begins with a blank or its end. Where it `has_times`, the first is at most number
    `most_first_time`.
    """

    hypotheses: int
    temperature: float
    most_tokens: int
    suppressed: tuple[int, ...]
    suppress_blank: bool
    most_first_time: int
    has_times: bool = True


@dataclass(frozen=True)
class Found:
    """The text of a window without its end; the log probability of its tokens, divided by their
    number; the probability that nobody speaks.
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
) -> list[Found]:
    """The text of each window of `decoding`. They have a prompt each, all of one length, and a
    generator each, for what is drawn.
    """
    prompt = np.array(prompts, np.int64)
    count, length = prompt.shape
    start = int(np.argmax(prompt[0] == tokens.start))
    hidden = decoding.step(prompt, np.arange(count), np.array([start, length - 1]))
    scores = decoding.scores(hidden[:, 0], decoding.no_bias)
    silent = np.exp(scores.rest[:, tokens.no_speech - tokens.end] - scores.everything)
    texts = _Search(decoding, tokens, settings, generators).run(hidden[:, 1])
    return [
        Found(text.tokens, text.score, float(no_speech))
        for text, no_speech in zip(texts, silent, strict=True)
    ]


@dataclass(frozen=True)
class _Text:
    """A hypothesis that ended: tokens, mean log probability, and what it is ranked by."""

    tokens: list[int]
    score: float
    rank: float


@dataclass
class _Window:
    """The hypotheses of a window that ended."""

    generator: np.random.Generator
    ended: list[_Text] = field(default_factory=list)
    follows_greedy: bool = True

    @property
    def best_rank(self) -> float:
        return max((text.rank for text in self.ended), default=float(NEVER))


class _Search:
    """Equally many rows for each window, one window after the other: the hypotheses.

    Of each row the tokens, the sum of their log probabilities, and the sum by which it is ranked.
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
        """From the states after the prompts, (windows, width), to the best text of each."""
        bias = self._bias.copy()
        if self._settings.suppress_blank:
            bias[:, [self._tokens.blank, self._tokens.end]] = NEVER
        for _ in range(self._settings.most_tokens - 1):
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
        """Extend every row; the rows of before that the new ones continue."""
        scores = self._allowed(self._decoding.scores(hidden, bias))
        if self._settings.temperature > 0:
            return self._draw_tokens(scores, hidden, bias)
        return self._take_likeliest(scores)

    def _allowed(self, scores: Scores) -> Scores:
        if not self._settings.has_times:
            return scores
        return obeying(scores, self._texts, self._tokens, self._settings.most_first_time)

    def _done(self) -> list[bool]:
        """Which open windows need no further step."""
        rows = len(self._texts) // len(self._open)
        ranks = self._normalised(self._ranks)
        return [
            len(window.ended) >= self._settings.hypotheses
            and not self._goes_on(window, ranks, number * rows, rows)
            for number, window in enumerate(self._open)
        ]

    def _goes_on(self, window: _Window, ranks: Floats, first: int, rows: int) -> bool:
        """Whether an open hypothesis of a beam is worth following: the greedy one, or one that
        ranks above all that ended. Those that repeat themselves are not.
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
        """Ranks of rows for each token of text: timestamps make no hypothesis better."""
        lengths = np.sum(self._texts < self._tokens.end, axis=1)
        normalised: Floats = ranks / np.maximum(lengths, 1)
        return normalised

    def _end(self, window: _Window, row: int, total: float, rank: float) -> None:
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
        """Row and column of a window's continuations: the greedy one, then by rank."""
        own = ranks[first : first + rows].reshape(-1)
        has_greedy = window.follows_greedy
        if has_greedy:
            yield first, 0
        for place in np.argsort(-own, kind="stable").tolist():
            row, column = divmod(place, ranks.shape[1])
            if place or not has_greedy:
                yield first + row, column

    def _continuations(self, scores: Scores, count: int) -> tuple[Integers, Floats, Floats]:
        """The likeliest next tokens of each row, and the row's sums with each: (rows, count)."""
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
        """Each row goes on by itself; the rows of a window are as many as the texts wanted."""
        parents = np.arange(len(self._texts))
        if not self._texts.shape[1]:
            parents = np.repeat(parents, self._settings.hypotheses)
            self._texts = self._texts[parents]
        # The maximum of logits with Gumbel's noise is a draw from their softmax.
        shape = len(parents) // len(self._open), bias.shape[1]
        drawn = np.concatenate(
            [window.generator.standard_exponential(shape, np.float32) for window in self._open]
        )
        noise = -np.float32(self._settings.temperature) * np.log(np.maximum(drawn, LEAST))
        noisy = self._decoding.scores(hidden[parents], bias + noise)
        # The rules look at what is probable, not at what is drawn.
        noisy = replace(
            noisy,
            best=np.where(scores.total[parents, None] == NEVER, NEVER, noisy.best),
            rest=np.where(scores.rest[parents] == NEVER, NEVER, noisy.rest),
        )
        first, logits = noisy.likeliest(1)
        tokens = first[:, 0]
        found = (logits - np.take_along_axis(noise, first, axis=1))[:, 0]
        # A text that ended has no probability left.
        sums = self._sums[parents] + found - scores.everything[parents]
        ended = np.isfinite(sums) & (tokens == self._tokens.end)
        for row in np.flatnonzero(ended).tolist():
            window = self._open[row * len(self._open) // len(parents)]
            self._end(window, row, float(sums[row]), float(sums[row]))
        self._texts = np.concatenate([self._texts, tokens[:, None]], axis=1)
        self._sums = self._ranks = np.where(ended, NEVER, sums)
        return parents

    def _forget_done(self, parents: Integers, done: Sequence[bool]) -> Integers:
        """Drop the rows of windows that are done, where that is worth the copying."""
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
        """What has not ended ends here, the likeliest first."""
        rows = len(self._texts) // len(self._open)
        for number, window in enumerate(self._open):
            own = range(number * rows, (number + 1) * rows)
            for row in sorted(own, key=lambda row: -self._ranks[row]):
                if self._ranks[row] > NEVER and len(window.ended) < self._settings.hypotheses:
                    self._end(window, row, float(self._sums[row]), float(self._ranks[row]))


def repeats_itself(text: Integers) -> bool:
    """Whether the end of a text is a short sequence of tokens over and over again."""
    end = text[-LOOP_TOKENS:]
    return len(end) == LOOP_TOKENS and any(
        np.array_equal(end[period:], end[:-period]) for period in range(1, MAX_PERIOD + 1)
    )
