"""Finds when the tokens of a text are said, from the decoder's cross-attention.

The method is that of openai-whisper and CTranslate2: some heads attend to the frames in which a
token is said. Their weights are normalised over the tokens and smoothed over time, and dynamic time
warping finds the best path through them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from studio.transcription.openvino.logits import Floats

Doubles = npt.NDArray[np.float64]

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Alignment:
    """Like the result of CTranslate2's `align`: a path of pairs (token, frame), and the probability
    of each token of the text."""

    alignments: list[tuple[int, int]]
    text_token_probs: list[float]


def alignment_heads(folder: Path, layers: int, heads: int) -> dict[int, list[int]]:
    """For each layer that has some, the heads that attend to what is said.

    Directories that do not name them get the heads of the upper half of the layers, as in
    openai-whisper.
    """
    config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    everything = [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    by_layer: dict[int, list[int]] = {}
    for layer, head in config.get("alignment_heads") or everything:
        by_layer.setdefault(int(layer), []).append(int(head))
    return by_layer


def attention(queries: Floats, keys: Floats) -> Floats:
    """The attention weights of (heads, tokens, size) to (heads, frames, size)."""
    scores: Floats = queries @ keys.swapaxes(1, 2)
    scores /= np.sqrt(queries.shape[2], dtype=np.float32)
    scores -= scores.max(axis=2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=2, keepdims=True)
    return scores


def align_tokens(weights: Floats, first: int, filter_width: int) -> list[tuple[int, int]]:
    """The path through attention weights (heads, tokens, frames), from the token `first` on.

    The last token ends the text and is not part of the path.
    """
    from scipy.ndimage import median_filter

    weights = weights - weights.mean(axis=1, keepdims=True)
    weights /= weights.std(axis=1, keepdims=True)
    smooth = median_filter(weights, size=(1, 1, filter_width), mode="mirror")
    return likeliest_path(smooth.mean(axis=0)[first:-1].astype(np.float64))


def likeliest_path(gains: Doubles) -> list[tuple[int, int]]:
    """The path through (rows, columns) with the largest sum.

    It leads from the first field to the last; each step goes to the next row, column, or both.
    """
    rows, columns = gains.shape
    # Sums of the best paths to each field, with a border above and to the left.
    best = np.full((rows + 1, columns + 1), -np.inf)
    best[0, 0] = 0.0
    for row, gain in enumerate(gains):
        along = np.concatenate([[0.0], np.cumsum(gain)])
        entered = np.maximum(best[row, :-1], best[row, 1:]) - along[:-1]
        best[row + 1, 1:] = np.maximum.accumulate(entered) + along[1:]
    path = []
    row, column = rows, columns
    while row > 0:
        path.append((row - 1, column - 1))
        above_left, above, left = (
            best[row - 1, column - 1],
            best[row - 1, column],
            best[row, column - 1],
        )
        if above_left > max(above, left):
            row, column = row - 1, column - 1
        elif above > max(above_left, left):
            row -= 1
        else:
            column -= 1
    return path[::-1]
