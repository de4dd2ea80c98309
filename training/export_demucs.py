"""Writes the averaged weights of a training state as the model file that the server loads.

Run it as `python -m training.export_demucs`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from .model import CARD_FOLDER, MODEL_FILE, save_model
from .render import song_folder
from .train_demucs import STATE_FILE

TRAINING_FILE = CARD_FOLDER / "training.json"


def export(state_path: Path, model_path: Path = MODEL_FILE) -> None:
    """Write the model file, and next to it how long it was trained (`training.json`)."""
    state = torch.load(state_path, weights_only=True)
    save_model(state["average"], model_path)
    facts = {
        "steps": state["step"],
        "minutes": round(state["total_s"] / 60.0, 1),
        "songs": len(list(song_folder(held_out=False).glob("*.npy"))),
        # Sentences for the card that only a person can write: what was special about this training.
        "remarks": [],
    }
    (model_path.parent / TRAINING_FILE.name).write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE_FILE)
    parser.add_argument("--model", type=Path, default=MODEL_FILE)
    arguments = parser.parse_args()
    export(arguments.state, arguments.model)
    print(f"{arguments.model.name}: {arguments.model.stat().st_size} bytes")


if __name__ == "__main__":
    main()
