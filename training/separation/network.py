"""The network and its file: a small HTDemucs."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from training.mix import RATE_HZ
from training.render import SOURCES

SEGMENT_S = 3
CARD_FOLDER = Path(__file__).parents[2] / "pretrained" / "demucs-mini"
MODEL_FILE = CARD_FOLDER / "model.safetensors"
TRAINING_FILE = CARD_FOLDER / "training.json"
MAX_FILE_BYTES = 8_000_000

KWARGS: dict[str, Any] = {
    "sources": list(SOURCES),
    "channels": 24,
    "depth": 4,
    "t_layers": 3,
    "t_heads": 6,
    "t_hidden_scale": 1.5,
    "dconv_mode": 3,
    "dconv_depth": 1,
    "samplerate": RATE_HZ,
    "segment": SEGMENT_S,
}


def build_model() -> HTDemucs:
    """A fresh network with random weights."""
    model: HTDemucs = HTDemucs(**KWARGS)
    return model


def parameter_count(model: torch.nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights as float16 in the layout that `demucs.hf.load_safetensors_model` reads."""
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps({name: _encode(value) for name, value in KWARGS.items()}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata)
    # safetensors writes for its owner alone; in a container another user reads it.
    path.chmod(0o644)
    size_bytes = path.stat().st_size
    if size_bytes > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is {size_bytes} bytes, over {MAX_FILE_BYTES}")


def _encode(value: object) -> object:
    if isinstance(value, Fraction):
        parts = {"numerator": value.numerator, "denominator": value.denominator}
        return {"_type": "fraction", **parts}
    return value
