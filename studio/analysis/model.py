"""The two classifiers of an analysis: what a moment is in its bar, and which chord a beat has.

Both are linear, and were trained on songs that `training/` renders.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.analysis.frames import Floats
from studio.analysis.harmony import WIDTH

CHORDS = 24
"""12 major triads from C upwards, then 12 minor ones."""


@dataclass(frozen=True)
class Linear:
    """Classes (k,) of features (n,): `weights` (k, n), `bias` (k,), how common they are (k,)."""

    weights: Floats
    bias: Floats
    prior: Floats

    def log_odds(self, features: Floats) -> Floats:
        """How much likelier than before the features (rows, n) make each class: (rows, k)."""
        log_odds: Floats = log_softmax(features @ self.weights.T + self.bias) - np.log(self.prior)
        return log_odds


@dataclass(frozen=True)
class AnalysisModel:
    """`metre` distinguishes downbeats, beats, off-beats and third beats of four, in this order.

    `chord` distinguishes a major and a minor triad on C; others are found by transposition.
    """

    metre: Linear
    chord: Linear

    def chords(self, chroma: Floats) -> Floats:
        """The log probabilities (beats, CHORDS) of chords, from chroma (beats, WIDTH)."""
        registers = chroma.reshape(len(chroma), -1, 12)
        scores = np.empty((len(chroma), 2, 12))
        for root in range(12):
            moved = np.roll(registers, -root, axis=2).reshape(len(chroma), WIDTH)
            scores[:, :, root] = moved @ self.chord.weights.T + self.chord.bias
        return log_softmax(scores.reshape(len(chroma), CHORDS))

    def to_dict(self) -> dict[str, Any]:
        return {
            name: {key: np.round(value, 4).tolist() for key, value in vars(linear).items()}
            for name, linear in vars(self).items()
        }

    @classmethod
    def load(cls, path: Path) -> "AnalysisModel":
        """The model in a file that `to_dict` describes."""
        data = json.loads(path.read_text("utf-8"))
        linears = {
            name: Linear(**{key: np.array(value) for key, value in data[name].items()})
            for name in ("metre", "chord")
        }
        return cls(**linears)


def log_softmax(scores: Floats) -> Floats:
    """Log probabilities of each row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probabilities: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities
