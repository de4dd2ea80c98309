"""Writes `pretrained/musicgen-mini` from the codec and the saved state of the training.

Run it as `python -m training.musicgen.export`. The layout is that of transformers, float32.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import EncodecFeatureExtractor

from .. import together
from . import train
from .codec import CONFIG, load_codec
from .network import build_model
from .tokenizer import build_tokenizer

CARD_FOLDER = Path(__file__).parents[2] / "pretrained" / "musicgen-mini"
TRAINING_FILE = CARD_FOLDER / "training.json"
MAX_BYTES = 20_000_000


def export() -> int:
    """Write the model with its tokenizer; returns the size of everything in bytes."""
    codec = load_codec().state_dict()
    decoder = torch.load(train.STATE_FILE, weights_only=True)
    model = build_model()
    weights = {f"audio_encoder.{name}": tensor for name, tensor in codec.items()}
    model.load_state_dict({**decoder["average"], **weights})
    model.save_pretrained(CARD_FOLDER)
    build_tokenizer().save_pretrained(CARD_FOLDER)
    EncodecFeatureExtractor(
        feature_size=1, sampling_rate=CONFIG.sampling_rate, padding_side="left"
    ).save_pretrained(CARD_FOLDER)
    together.write_facts(TRAINING_FILE, decoder, "pieces")
    size_bytes = sum(path.stat().st_size for path in CARD_FOLDER.iterdir())
    if size_bytes > MAX_BYTES:
        raise ValueError(f"{CARD_FOLDER.name} is {size_bytes} bytes, over {MAX_BYTES}")
    return size_bytes


if __name__ == "__main__":
    print(f"musicgen-mini: {export()} bytes")
