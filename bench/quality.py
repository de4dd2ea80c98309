"""What faster arithmetic and a smaller overlap cost: difference to demucs, and SDR."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import material
from config import Config
from scripts.scores import sdr_db
from studio.inference.engine_settings import EngineSettings
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import load
from studio.separation.mixture import Statistics
from studio.separation.network import Bag, Stems
from studio.separation.stream import Separation
from tests.support.sounds import SONG, Sound, read_sound

PARITY_S = 20.0
BUNDLED = material.ROOT / "pretrained" / "demucs-mini"
HELD_OUT = material.ROOT / "training" / "data" / "held_out"


def parity(folder: Path, weights: Path) -> list[str]:
    """Largest difference to `apply_model(shifts=0)` with the full-size htdemucs."""
    import torch
    from demucs.apply import apply_model
    from demucs.hf import load_safetensors_model

    sound = read_sound(material.song(folder / "parity.wav", PARITY_S))
    network = load_safetensors_model(weights / "demucs" / f"{material.SIGNATURE}.safetensors")
    statistics = Statistics.of(iter([sound]))
    normalised = (sound - statistics.mean) / (statistics.deviation + 1e-8)
    mixture = torch.from_numpy(normalised.astype(np.float32))[None]
    stems = apply_model(network.eval(), mixture, shifts=0, overlap=0.25)[0].numpy()
    theirs = stems * (statistics.deviation + 1e-8) + statistics.mean
    rows = []
    for engine, precision in (("torch", "f32"), ("openvino", "f32"), ("openvino", "bf16")):
        ours = separated(_bag("htdemucs", weights, engine, precision), sound)
        rows.append(f"| {engine} | {precision} | {float(np.abs(ours - theirs).max()):.1e} |")
    return [
        f"Full-size htdemucs, {PARITY_S:g} s; full scale is 1.",
        "",
        "| engine | precision | largest difference |",
        "|---|---|---|",
        *rows,
    ]


def prices(_folder: Path) -> list[str]:
    """SDR of the bundled model under f32, bf16, and overlap 0.1, with the time of each."""
    songs = _songs()
    with_f32 = _bag("mini", Config().model_dir, "openvino", "f32")
    with_bf16 = _bag("mini", Config().model_dir, "openvino", "bf16")
    base, base_s = _sdr(with_f32, songs, 0.25)
    lines = [
        f"Median of {len(songs)} held-out songs, in dB.",
        "",
        f"| | {' | '.join(with_f32.sources)} | time relative to the first row |",
        "|---|" + "---|" * (len(with_f32.sources) + 1),
        f"| f32, overlap 0.25 | {' | '.join(f'{v:.2f}' for v in np.median(base, 0))} | 1.00 |",
    ]
    for name, bag, overlap in (
        ("bf16, overlap 0.25", with_bf16, 0.25),
        ("f32, overlap 0.1", with_f32, 0.1),
    ):
        found, took_s = _sdr(bag, songs, overlap)
        values = " | ".join(f"{v:.2f}" for v in np.median(found, 0))
        lost = " | ".join(f"{v:.4f}" for v in (base - found).max(0))
        lines.append(f"| {name} | {values} | {took_s / base_s:.2f} |")
        lines.append(f"| largest loss of any song | {lost} | |")
    return lines


def separated(bag: Bag, sound: Sound, overlap: float = 0.25) -> Stems:
    """All stems of a sound in memory."""
    everything = list(range(len(bag.sources)))
    statistics = Statistics.of(iter([sound]))
    separation = Separation(bag, iter([sound]), statistics, everything, overlap=overlap)
    return np.concatenate([stems for _, stems in separation.run(lambda _done: None)], axis=2)


def _bag(name: str, weights: Path, engine: str, precision: str) -> Bag:
    catalogue = DemucsCatalogue(BUNDLED, weights / "demucs", Config().torch_checkpoints)
    return load(catalogue, name, EngineSettings(engine, precision, 0, weights / ".graphs"))


def _songs() -> list[tuple[Sound, Stems]]:
    """(mixture, stems) of the held-out songs that `training/` rendered, or of the sample song."""
    if rendered := sorted(HELD_OUT.glob("*.npy")):
        stems = [np.load(path).astype(np.float32) / 32768 for path in rendered]
        return [(one.sum(axis=0), one) for one in stems]
    named = [read_sound(SONG / f"{name}.flac") for name in ("drums", "bass", "other", "vocals")]
    return [(read_sound(SONG / "mixture.flac"), np.stack(named))]


def _sdr(bag: Bag, songs: list[tuple[Sound, Stems]], overlap: float) -> tuple[Any, float]:
    """SDR in dB (songs, stems), and the seconds that separating took."""
    began_s = time.monotonic()
    found = [separated(bag, mixture, overlap) for mixture, _ in songs]
    took_s = time.monotonic() - began_s
    return np.array(
        [
            [sdr_db(true, stem) for true, stem in zip(stems, estimate, strict=True)]
            for (_, stems), estimate in zip(songs, found, strict=True)
        ]
    ), took_s
