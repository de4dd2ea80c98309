"""Finds the text of windows token by token: greedily, with a beam, or by drawing at random.

As in the program of Radford et al. 2022. Windows of a batch are searched together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from studio.transcription.decoding.networks import Decoding
from studio.transcription.decoding.scores import NEVER, Floats, Integers, Scores, Tokens, obeying

# Some of what is drawn is rounded to 0, which has no logarithm.
LEAST = np.float32(2**-24)


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
    draw: np.random.Generator,
) -> list[Found]:
    """The text of each window of `decoding`. They have a prompt each, all of one length."""
    prompt = np.array(prompts, np.int64)
    count, length = prompt.shape
    start = int(np.argmax(prompt[0] == tokens.start))
    hidden = decoding.step(prompt, np.arange(count), np.array([start, length - 1]))
    scores = decoding.scores(hidden[:, 0], decoding.no_bias)
    silent = np.exp(scores.rest[:, tokens.no_speech - tokens.end] - scores.everything)
    texts = _Search(decoding, tokens, settings, draw, count).run(hidden[:, 1])
    return [
        Found(text, score, float(no_speech))
        for (text, score), no_speech in zip(texts, silent, strict=True)
    ]


@dataclass
class _Window:
    """A window's texts that ended, each with its score."""

    ended: list[tuple[list[int], float]] = field(default_factory=list)

    def end(self, text: Integers, total: float) -> None:
        tokens = text.tolist()
        self.ended.append((tokens, total / max(len(tokens), 1)))


class _Search:
    """Equally many rows for each window, one window after the other: their texts and the sums of
    their log probabilities.
    """

    def __init__(
        self,
        decoding: Decoding,
        tokens: Tokens,
        settings: Settings,
        draw: np.random.Generator,
        count: int,
    ) -> None:
        self._decoding = decoding
        self._tokens = tokens
        self._settings = settings
        self._draw = draw
        self._windows = [_Window() for _ in range(count)]
        self._open = list(self._windows)
        self._texts = np.zeros((count, 0), np.int64)
        self._sums = np.zeros(count, np.float32)
        self._bias = decoding.no_bias.copy()
        self._bias[:, list(settings.suppressed)] = NEVER

    def run(self, hidden: Floats) -> list[tuple[list[int], float]]:
        """From the states after the prompts, (windows, width), to the best texts and scores."""
        bias = self._bias.copy()
        if self._settings.suppress_blank:
            bias[:, [self._tokens.blank, self._tokens.end]] = NEVER
        for _ in range(self._settings.most_tokens - 1):
            parents = self._choose(hidden, bias)
            if all(self._is_done(window) for window in self._open):
                break
            parents = self._forget_done(parents)
            hidden = self._decoding.step(self._texts[:, -1:], parents)[:, 0]
            bias = self._bias
        else:
            self._choose(hidden, bias)
        self._end_open()
        return [
            max(window.ended, key=lambda one: one[1], default=([], 0.0)) for window in self._windows
        ]

    def _choose(self, hidden: Floats, bias: Floats) -> Integers:
        """Go on with every row; of which rows of before the new ones are the continuations."""
        scores = self._allowed(self._decoding.scores(hidden, bias))
        if self._settings.temperature > 0:
            return self._draw_tokens(scores, hidden, bias)
        return self._take_likeliest(scores)

    def _allowed(self, scores: Scores) -> Scores:
        if not self._settings.has_times:
            return scores
        return obeying(scores, self._texts, self._tokens, self._settings.most_first_time)

    def _is_done(self, window: _Window) -> bool:
        return len(window.ended) >= self._settings.hypotheses

    def _take_likeliest(self, scores: Scores) -> Integers:
        wanted = self._settings.hypotheses
        tokens, logits = scores.likeliest(wanted + 1)
        found = logits - scores.everything[:, None]
        sums = (self._sums[:, None] + found).reshape(len(self._open), -1)
        tokens = tokens.reshape(sums.shape)
        rows = len(self._texts) // len(self._open)
        chosen: list[tuple[int, int, float]] = []
        for number, window in enumerate(self._open):
            kept: list[tuple[int, int, float]] = []
            for place in np.argsort(-sums[number], kind="stable").tolist():
                parent = number * rows + place // (wanted + 1)
                token, total = int(tokens[number, place]), float(sums[number, place])
                if token != self._tokens.end:
                    kept.append((parent, token, total))
                elif total > NEVER and not self._is_done(window):
                    window.end(self._texts[parent], total)
                if len(kept) == wanted:
                    break
            chosen += kept
        parents = np.array([parent for parent, _, _ in chosen], np.int64)
        next_tokens = np.array([token for _, token, _ in chosen], np.int64)
        self._texts = np.concatenate([self._texts[parents], next_tokens[:, None]], axis=1)
        self._sums = np.array([total for _, _, total in chosen], np.float32)
        return parents

    def _draw_tokens(self, scores: Scores, hidden: Floats, bias: Floats) -> Integers:
        """Each row goes on by itself; the rows of a window are as many as the texts wanted."""
        parents = np.arange(len(self._texts))
        if not self._texts.shape[1]:
            parents = np.repeat(parents, self._settings.hypotheses)
            self._texts = self._texts[parents]
        # The maximum of logits with Gumbel's noise is a draw from their softmax.
        shape = len(parents), bias.shape[1]
        drawn = self._draw.standard_exponential(shape, np.float32)
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
        for row in np.flatnonzero(ended):
            window = self._open[row * len(self._open) // len(parents)]
            window.end(self._texts[row], float(sums[row]))
        self._texts = np.concatenate([self._texts, tokens[:, None]], axis=1)
        self._sums = np.where(ended, NEVER, sums)
        return parents

    def _forget_done(self, parents: Integers) -> Integers:
        """Drop the rows of windows that are done, where that is worth the copying."""
        going = np.array([not self._is_done(window) for window in self._open])
        if 2 * going.sum() > len(going):
            return parents
        kept = np.repeat(going, len(parents) // len(going))
        self._decoding.keep(np.flatnonzero(going))
        self._open = [window for window, goes in zip(self._open, going, strict=True) if goes]
        self._texts, self._sums = self._texts[kept], self._sums[kept]
        going_on: Integers = parents[kept]
        return going_on

    def _end_open(self) -> None:
        """What has not ended ends here, the likeliest first."""
        rows = len(self._texts) // len(self._open)
        for number, window in enumerate(self._open):
            own = range(number * rows, (number + 1) * rows)
            for row in sorted(own, key=lambda row: -self._sums[row]):
                if self._sums[row] > NEVER and not self._is_done(window):
                    window.end(self._texts[row], float(self._sums[row]))
