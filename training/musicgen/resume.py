"""Writes the state of codec and training from the published model, to continue without a saved one.

    python -m training.musicgen.resume

The optimisers start from scratch.
"""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

from .. import together
from . import codec, train
from .export import CARD_FOLDER, TRAINING_FILE
from .network import build_model


def resume() -> None:
    """Write both state files."""
    published = load_file(CARD_FOLDER / "model.safetensors")
    train.STATE_FILE.parent.mkdir(parents=True, exist_ok=True)
    model = build_model()
    model.load_state_dict(published, strict=False)
    torch.save(model.audio_encoder.state_dict(), codec.STATE_FILE)
    del model.audio_encoder
    facts = json.loads(TRAINING_FILE.read_text())
    together.save(
        train.STATE_FILE,
        model,
        train.make_optimisers(model, train.Plan(minutes=1.0)),
        dict(model.state_dict()),
        step=facts["steps"],
        examples=facts["pieces"],
        total_s=60.0 * facts["minutes"],
    )


if __name__ == "__main__":
    resume()
    print(f"wrote {train.STATE_FILE.name} and {codec.STATE_FILE.name}")
