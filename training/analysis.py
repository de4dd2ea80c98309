"""Trains the two linear classifiers of the song analysis on rendered songs.

Run it as `python -m training.analysis` after `python -m training.render --count 40`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from studio.analysis import beats, harmony, metre
from studio.analysis.catalogue import WEIGHTS
from studio.analysis.model import AnalysisModel, Linear
from studio.analysis.song import Heard, hear
from studio.sources import Source

from .annotations import PITCH_CLASSES, Annotation, annotate
from .mix import RATE_HZ
from .render import song_folder
from .songs import make_song

FOLDER = Path(__file__).parents[1] / "pretrained" / "analysis-mini"
METRE_DECAY, CHORD_DECAY = 1e-2, 1e-4
STEPS = 300

Floats = npt.NDArray[np.floating]


def rendered(held_out: bool, count: int) -> list[tuple[Annotation, npt.NDArray[np.float32]]]:
    """The first rendered songs of a split: annotations, and float32 (2, samples) at RATE_HZ."""
    songs = []
    for seed in range(count):
        stems = np.load(song_folder(held_out) / f"{seed:04d}.npy", mmap_mode="r")
        mixture = (stems.sum(axis=0, dtype=np.int32) / 32768).astype(np.float32)
        songs.append((annotate(make_song(seed, held_out)), mixture))
    return songs


def heard(mixture: npt.NDArray[np.float32]) -> Heard:
    """The features of a song float32 (2, samples) at RATE_HZ."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "song.wav")
        soundfile.write(path, mixture.T, RATE_HZ, "FLOAT")
        return hear(Source(path, mixture.shape[1] / RATE_HZ), 2, lambda *_: None)


def metre_examples(truth: Annotation, song: Heard) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Features and classes of the true beats of a song, and of the off-beats between them."""
    moments_s = beats.with_off_beats(song.onsets, np.array(truth.beats_s))
    beats_per_bar = truth.beats_s.index(truth.downbeats_s[1])
    classes = np.resize(metre.classes_of(beats_per_bar), len(moments_s))
    return metre.features(song.onsets, song.chroma, moments_s), classes


def chord_examples(truth: Annotation, song: Heard) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Chroma of the beats of a song, turned so that the root is C, and 1 for minor triads."""
    edges_s = np.append(truth.beats_s, song.duration_s)
    chroma = harmony.normalised(harmony.between(song.chroma, edges_s))
    registers = chroma.reshape(len(chroma), -1, 12)
    examples, classes = [], []
    for start_s, end_s, label in truth.chords:
        root, _, quality = label.partition(":")
        if quality not in ("maj", "min"):
            continue
        middles_s = (edges_s[:-1] + edges_s[1:]) / 2
        for beat in np.flatnonzero((middles_s >= start_s) & (middles_s < end_s)):
            turned = np.roll(registers[beat], -PITCH_CLASSES.index(root), axis=1)
            examples.append(turned.ravel())
            classes.append(int(quality == "min"))
    return np.array(examples), np.array(classes)


def fit_metre(features: Floats, classes: npt.NDArray[np.int64]) -> Linear:
    """Multinomial logistic regression."""
    import torch

    given, wanted = torch.tensor(features, dtype=torch.float32), torch.tensor(classes)

    def loss(weights: Any, bias: Any) -> Any:
        return torch.nn.functional.cross_entropy(given @ weights.T + bias, wanted)

    weights, bias = _minimised(loss, (4, features.shape[1]), METRE_DECAY)
    return Linear(weights, bias, np.bincount(classes, minlength=4) / len(classes))


def fit_chord(chroma: Floats, classes: npt.NDArray[np.int64]) -> Linear:
    """The same over 24 chords, whose weights are those of two, transposed."""
    import torch

    registers = torch.tensor(chroma, dtype=torch.float32).reshape(len(chroma), -1, 12)
    turned = torch.stack(
        [torch.roll(registers, -root, 2).reshape(len(chroma), -1) for root in range(12)], 1
    )
    # The root of all examples is C.
    wanted = torch.tensor(classes) * 12

    def loss(weights: Any, bias: Any) -> Any:
        scores = torch.einsum("nrf,qf->nqr", turned, weights) + bias[None, :, None]
        return torch.nn.functional.cross_entropy(scores.reshape(len(chroma), 24), wanted)

    weights, bias = _minimised(loss, (2, chroma.shape[1]), CHORD_DECAY)
    return Linear(weights, bias, np.bincount(classes, minlength=2) / len(classes))


def _minimised(loss: Any, shape: tuple[int, int], decay: float) -> tuple[Floats, Floats]:
    """Weights and bias with the least loss."""
    import torch

    weights = torch.zeros(shape, requires_grad=True)
    bias = torch.zeros(shape[0], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=STEPS)

    def step() -> Any:
        optimiser.zero_grad()
        total = loss(weights, bias) + decay * (weights**2).sum()
        total.backward()
        return total

    optimiser.step(step)
    return weights.detach().numpy(), bias.detach().numpy()


def train(count: int) -> AnalysisModel:
    """A model trained on the first songs for training."""
    metres, chords = [], []
    for truth, mixture in rendered(held_out=False, count=count):
        song = heard(mixture)
        metres.append(metre_examples(truth, song))
        chords.append(chord_examples(truth, song))
    joined = [
        [
            np.concatenate(part)
            for part in zip(*(pair for pair in pairs if len(pair[0])), strict=True)
        ]
        for pairs in (metres, chords)
    ]
    return AnalysisModel(fit_metre(*joined[0]), fit_chord(*joined[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    arguments = parser.parse_args()
    model = train(arguments.count)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / WEIGHTS).write_text(json.dumps(model.to_dict()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
