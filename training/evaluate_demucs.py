"""Measures the model file on the held-out songs and prints the table of the model card.

    python -m training.evaluate_demucs

SDR is 10 log10(sum(s^2) / sum((s - estimate)^2)) over a whole song and both channels. The songs
are rendered first if they are not on disk; the numbers also go to `sdr.json` next to the model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from demucs.apply import apply_model
from demucs.hf import load_safetensors_model

from .model import CARD_FOLDER, MODEL_FILE
from .render import SOURCES, render_songs, song_folder
from .songs import Song, make_song

HELD_OUT_SONGS = 16
SCORES_FILE = CARD_FOLDER / "sdr.json"


def sdr_db(stem: torch.Tensor, estimate: torch.Tensor) -> float:
    """Signal over error power in dB; two float tensors of the same shape."""
    error = (stem - estimate).square().sum()
    return float(10.0 * torch.log10(stem.square().sum() / (error + 1e-12) + 1e-12))


def load_stems(seed: int) -> torch.Tensor:
    """The stems of a held-out song: float32 of shape (4, 2, samples)."""
    stems = np.load(song_folder(held_out=True) / f"{seed:04d}.npy")
    return torch.from_numpy(stems.astype(np.float32) / 32768.0)


def separate(model: torch.nn.Module, mixture: torch.Tensor) -> torch.Tensor:
    """Stems (4, 2, samples) of a mixture (2, samples), normalised as the server and demucs do."""
    reference = mixture.mean(0)
    mean, deviation = reference.mean(), reference.std() + 1e-8
    with torch.no_grad():
        stems = apply_model(model, (mixture - mean)[None] / deviation, shifts=0, overlap=0.25)[0]
    return stems * deviation + mean


def evaluate(model_path: Path, seeds: range) -> dict[int, dict[str, float]]:
    """SDR in dB of every source of every held-out song."""
    model = load_safetensors_model(model_path).eval()
    scores = {}
    for seed in seeds:
        stems = load_stems(seed)
        estimate = separate(model, stems.sum(0))
        scores[seed] = {
            name: round(sdr_db(stems[index], estimate[index]), 2)
            for index, name in enumerate(SOURCES)
        }
    return scores


def medians(scores: dict[int, dict[str, float]]) -> dict[str, float]:
    """The median over the songs, for every source."""
    return {
        name: round(float(np.median([row[name] for row in scores.values()])), 2) for name in SOURCES
    }


def untouched(seeds: range) -> dict[str, float]:
    """The median SDR of doing nothing: the mixture as the estimate of every source."""
    scores = {}
    for seed in seeds:
        stems = load_stems(seed)
        scores[seed] = {
            name: sdr_db(stems[index], stems.sum(0)) for index, name in enumerate(SOURCES)
        }
    return medians(scores)


def table(scores: dict[int, dict[str, float]], baseline: dict[str, float]) -> str:
    """The results as a Markdown table."""
    lines = ["| song | " + " | ".join(SOURCES) + " | source |", "|---|" + "---:|" * 4 + "---|"]
    rows = {
        "**median**": (medians(scores), "this model"),
        "median": (baseline, "unprocessed mixture, for comparison"),
    }
    for seed, row in scores.items():
        rows[f"held-out {seed}"] = (row, describe(make_song(seed, held_out=True)))
    for name, (row, text) in rows.items():
        numbers = " | ".join(f"{row[source]:.1f}" for source in SOURCES)
        lines.append(f"| {name} | {numbers} | {text} |")
    return "\n".join(lines)


def describe(song: Song) -> str:
    """Tempo, drum kit, programs (counted from 0) and voice of a song in a few words."""
    others = ", ".join(str(part.program) for part in song.other)
    return (
        f"{song.tempo_bpm:.0f} bpm, kit {song.drums.program}, bass {song.bass.program}, "
        f"other {others}, voice {song.melody.voice.name}"
    )


def run(model_path: Path, count: int) -> str:
    """Evaluate on the first `count` held-out songs, write `sdr.json`, return the table."""
    seeds = range(count)
    render_songs(count, held_out=True, report=lambda _: None)
    scores, baseline = evaluate(model_path, seeds), untouched(seeds)
    result = {"median": medians(scores), "mixture": baseline, "songs": scores}
    (model_path.parent / SCORES_FILE.name).write_text(json.dumps(result, indent=2) + "\n")
    return table(scores, baseline)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FILE)
    parser.add_argument("--count", type=int, default=HELD_OUT_SONGS, help="how many songs")
    arguments = parser.parse_args()
    print(run(arguments.model, arguments.count))


if __name__ == "__main__":
    main()
