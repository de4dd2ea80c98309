"""Samples the next codes from logits, for all codebooks and tracks at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.generation.model import Logits

Chosen = npt.NDArray[np.int64]
"""int64 (rows, codebooks)."""

# Division by less could leave the range of float32, and the likeliest code is always drawn.
MIN_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class Sampling:
    """Sampling options. `top_k` 0 and `top_p` 1 keep all codes.

    A `guidance_scale` above 1 moves away from the prediction without a prompt.
    """

    guidance_scale: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 1.0

    @property
    def is_guided(self) -> bool:
        return self.guidance_scale > 1.0

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest code is always taken."""
        return self.temperature < MIN_TEMPERATURE


class Sampler:
    """Samples codes with separate random numbers per row, so that rows are independent."""

    def __init__(self, sampling: Sampling, seed: int, rows: int) -> None:
        self.sampling = sampling
        self._random = [np.random.default_rng([seed, row]) for row in range(rows)]

    def __call__(self, logits: Logits) -> Chosen:
        """`logits` of the rows with the prompt, followed by those without it if guided."""
        scores = logits
        if self.sampling.is_guided:
            conditional, unconditional = np.split(logits, 2)
            scores = unconditional + (conditional - unconditional) * np.float32(
                self.sampling.guidance_scale
            )
        draws = self.draws(1, scores.shape[1])[:, :, 0]
        if self.sampling.is_greedy:
            likeliest: Chosen = scores.argmax(axis=2)
            return likeliest
        return self._draw(scores / np.float32(self.sampling.temperature), draws)

    def draws(self, steps: int, codebooks: int) -> npt.NDArray[np.float64]:
        """The random numbers for the next steps, (rows, codebooks, steps)."""
        drawn = [random.random((steps, codebooks)).T for random in self._random]
        return np.ascontiguousarray(np.stack(drawn))

    def _draw(self, scores: Logits, draws: npt.NDArray[np.float64]) -> Chosen:
        """The codes at which the cumulative probability, most likely first, exceeds the draws."""
        size = scores.shape[2]
        kept = min(self.sampling.top_k or size, size)
        candidates = np.argpartition(scores, size - kept, axis=2)[:, :, size - kept :]
        values = np.take_along_axis(scores, candidates, axis=2).astype(np.float64)
        order = np.argsort(-values, axis=2, kind="stable")
        values = np.take_along_axis(values, order, axis=2)
        weights = np.exp(values - values[:, :, :1])
        sums = np.cumsum(weights, axis=2)
        # The most likely codes whose probabilities add up to `top_p`; always includes the first.
        inside = sums - weights < self.sampling.top_p * sums[:, :, -1:]
        total = np.where(inside, sums, 0.0).max(axis=2)
        places = (sums <= (draws * total)[:, :, None]).sum(axis=2, keepdims=True)
        # Scores that are not numbers are never inside.
        places = np.clip(inside.sum(axis=2, keepdims=True) - 1, 0, places)
        chosen = np.take_along_axis(order, places, axis=2)
        return np.take_along_axis(candidates, chosen, axis=2)[:, :, 0]
