"""Writes a training state from the published model, to continue without a saved state.

    python -m training.whisper.resume

The heads that only training needs and the optimisers start from scratch; they recover in minutes.
"""

from __future__ import annotations

import json

import torch

from studio.transcription.openai_weights import read_checkpoint

from .. import together
from . import tokens
from .export import CTRANSLATE2_FOLDER, TRAINING_FILE
from .network import MiniWhisper
from .train import STATE_FILE, Plan, make_optimisers

_RIDGE = 1e-3


def resume() -> None:
    """Write STATE_FILE from CTRANSLATE2_FOLDER."""
    weights = read_checkpoint(CTRANSLATE2_FOLDER)["model_state_dict"]
    model = MiniWhisper()
    table = weights.pop("decoder.token_embedding.weight")
    text = list(tokens.text_tokens())
    unused = next(number for number in range(len(table)) if number not in text)
    weights["decoder.token_embedding.weight"] = table[[*text, unused]]
    model.whisper.load_state_dict(weights)
    _fit_timestamps(model, table[-tokens.TIMESTAMPS :])
    facts = json.loads(TRAINING_FILE.read_text())
    together.save(
        STATE_FILE, model, make_optimisers(model, Plan(minutes=1.0)), dict(model.state_dict()),
        step=facts["steps"], examples=facts["windows"], total_s=60.0 * facts["minutes"],
    )  # fmt: skip


def _fit_timestamps(model: MiniWhisper, vectors: torch.Tensor) -> None:
    """Find the projection of times that gave the vectors (timestamps, width)."""
    ones = torch.ones(len(vectors), 1)
    places = torch.cat([model.times, ones], 1).double()
    # The slowest sinusoids are nearly constant: without the ridge, huge weights would cancel each
    # other, which bfloat16 cannot do.
    square = places.T @ places + _RIDGE * torch.eye(places.shape[1], dtype=torch.double)
    fitted = torch.linalg.solve(square, places.T @ vectors.double()).float()
    with torch.no_grad():
        model.timestamp_projection.weight.copy_(fitted[:-1].T)
        model.timestamp_projection.bias.copy_(fitted[-1])


if __name__ == "__main__":
    resume()
    print(f"wrote {STATE_FILE.name}")
