"""Real Demucs networks with random weights, small enough to run in an instant."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from studio.inference.engine_settings import EngineSettings

# Demucs on PyTorch, where the sound itself is tested and not the engine.
TORCH = EngineSettings("torch", "f32", 0, Path("unused"))


def make_tiny_weights(folder: Path) -> Path:
    """Write four bags of small networks into `folder`/demucs.

    They are `tiny` (HTDemucs, 1 s segments), `tiny_ft` (four specialists), `tiny_mixed` (HTDemucs,
    HDemucs and Demucs with uneven weights) and `swift` (Demucs, the fastest).
    """
    import torch
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    bags = folder / "demucs"
    bags.mkdir(parents=True)
    sources = ["drums", "bass", "other", "vocals"]
    transformer = {"sources": sources, "channels": 8, "t_layers": 1, "t_heads": 2, "segment": 1}
    torch.manual_seed(7)
    for number in range(4):
        save_network(HTDemucs(**transformer), transformer, bags / f"tiny{number}.safetensors")
    hybrid = {"sources": sources, "channels": 8, "segment": 2}
    save_network(HDemucs(**hybrid), hybrid, bags / "hybrid0.safetensors")
    wave = {"sources": sources, "channels": 8, "depth": 4, "segment": 2}
    save_network(Demucs(**wave), wave, bags / "wave0.safetensors")
    plain = {"sources": sources, "channels": 4, "depth": 3, "lstm_layers": 0, "dconv_mode": 0}
    plain |= {"resample": False, "segment": 4}
    save_network(Demucs(**plain), plain, bags / "swift0.safetensors")
    identity = np.eye(4).tolist()
    mixed = [[1.0, 0.0, 2.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 2.0, 1.0, 0.0]]
    for name, models, weights in (
        ("tiny", ["tiny0"], None),
        ("tiny_ft", ["tiny0", "tiny1", "tiny2", "tiny3"], identity),
        ("tiny_mixed", ["tiny0", "hybrid0", "wave0"], mixed),
        ("swift", ["swift0"], None),
    ):
        bag: dict[str, Any] = {"models": models}
        if weights:
            bag["weights"] = weights
        (bags / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    return folder


def save_network(network: Any, arguments: dict[str, Any], path: Path) -> None:
    """Write a demucs network in the layout of `demucs.hf.load_safetensors_model`."""
    import json

    from safetensors.torch import save_file

    kind = f"{type(network).__module__}.{type(network).__name__}"
    metadata = {"klass": kind, "args": "[]", "kwargs": json.dumps(arguments)}
    save_file(network.state_dict(), str(path), metadata)
