"""Writes `pretrained/musicgen-mini` from the saved states of both trainings.

Run it as `python -m training.musicgen.export`. The layout is that of transformers, float32.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import EncodecFeatureExtractor

from . import train, train_codec
from .codec import CONFIG
from .network import build_model
from .tokenizer import build_tokenizer

CARD_FOLDER = Path(__file__).parents[2] / "pretrained" / "musicgen-mini"
TRAINING_FILE = CARD_FOLDER / "training.json"
MAX_BYTES = 20_000_000


def export() -> int:
    """Write the model with its tokenizer; returns the size of everything in bytes."""
    codec = torch.load(train_codec.STATE_FILE, weights_only=True)
    decoder = torch.load(train.STATE_FILE, weights_only=True)
    model = build_model()
    weights = {f"audio_encoder.{name}": tensor for name, tensor in codec["model"].items()}
    model.load_state_dict({**decoder["average"], **weights})
    model.save_pretrained(CARD_FOLDER)
    build_tokenizer().save_pretrained(CARD_FOLDER)
    EncodecFeatureExtractor(
        feature_size=1, sampling_rate=CONFIG.sampling_rate, padding_side="left"
    ).save_pretrained(CARD_FOLDER)
    facts = {
        "codec_steps": codec["step"],
        "codec_hours": round(codec["sound_s"] / 3600, 1),
        "codec_minutes": round(codec["total_s"] / 60, 1),
        "decoder_steps": decoder["step"],
        "decoder_pieces": decoder["pieces"],
        "decoder_minutes": round(decoder["total_s"] / 60, 1),
    }
    TRAINING_FILE.write_text(json.dumps(facts, indent=2) + "\n")
    size_bytes = sum(path.stat().st_size for path in CARD_FOLDER.iterdir())
    if size_bytes > MAX_BYTES:
        raise ValueError(f"{CARD_FOLDER.name} is {size_bytes} bytes, over {MAX_BYTES}")
    return size_bytes


if __name__ == "__main__":
    print(f"musicgen-mini: {export()} bytes")
