"""Measures the model file on four test sets and prints the table of the model card.

    python -m training.separation.evaluate

SDR is 10 log10(sum(s^2) / sum((s - estimate)^2)) over a whole song and both channels. Songs are
rendered if they are not on disk. Scores are stored in `sdr.json` next to the model after each song,
and a song is not measured again with the same model, so the command can be stopped at any time. The
sets `unseen`, `mixed` and `second` need what `make sounds` and `make voices` fetch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from demucs.apply import apply_model
from demucs.hf import load_safetensors_model

from scripts import voices
from studio.audio.replacing import replacing
from training.mix import RATE_HZ
from training.render import DATA, SOURCES, render_seed, render_to_disk, song_folder
from training.songs import make_song

from . import new_sources, second_set, sources
from .network import CARD_FOLDER, MODEL_FILE

SCORES_FILE = CARD_FOLDER / "sdr.json"
VOCALS = SOURCES.index("vocals")
# An offset that a bad sound card adds, to see that stems do not add one of their own.
OFFSET = 0.02
CHECK_S = 12
CHECK_SONGS = 4
MUSIC_START_S, MUSIC_PIECES = 30, 16
CHECKED = "second"

Scores = dict[str, float]


@dataclass(frozen=True)
class SongSet:
    """Songs to measure: `render` gives the stems of a song (int16), `describe` who plays it."""

    title: str
    count: int
    folder: Path
    render: Callable[[int], npt.NDArray[np.int16]]
    describe: Callable[[int], str]


def _describe_held_out(seed: int) -> str:
    song = make_song(seed, held_out=True)
    return (
        f"{song.tempo_bpm:.0f} bpm, kit {song.drums.program}, bass {song.bass.program}, "
        f"other {song.programs}, voice {song.melody.voice.name}"
    )


SETS = {
    "held_out": SongSet(
        "held-out programs", 16, song_folder(held_out=True),
        partial(render_seed, held_out=True), _describe_held_out,
    ),
    **{
        kind: SongSet(
            title, count, DATA / "separation" / kind,
            partial(new_sources.render, kind=kind), partial(new_sources.describe, kind=kind),
        )
        for kind, title, count in (
            ("unseen", "unseen sources", 24), ("mixed", "known and unseen sources", 12),
        )
    },
    "second": SongSet(
        "second maker", 12, DATA / "separation" / "second", second_set.render, second_set.describe
    ),
}  # fmt: skip


def sdr_db(stem: torch.Tensor, estimate: torch.Tensor) -> float:
    """Signal over error power in dB; two float tensors of the same shape."""
    return ratio_db(stem, stem - estimate)


def ratio_db(signal: torch.Tensor, other: torch.Tensor) -> float:
    """Power of one tensor over that of another, in dB."""
    return float(10.0 * torch.log10(signal.square().sum() / (other.square().sum() + 1e-12) + 1e-12))


def load_stems(path: Path) -> torch.Tensor:
    """The stems of a rendered song: float32 of shape (4, 2, samples)."""
    return torch.from_numpy(np.load(path).astype(np.float32) / 32768.0)


def separate(model: torch.nn.Module, mixture: torch.Tensor) -> torch.Tensor:
    """Stems (4, 2, samples) of a mixture (2, samples), normalised as the server does."""
    reference = mixture.mean(0)
    mean, deviation = reference.mean(), reference.std() + 1e-8
    with torch.no_grad():
        stems = apply_model(model, (mixture - mean)[None] / deviation, shifts=0, overlap=0.25)[0]
    return stems * deviation + mean / len(stems)


def measure_song(model: torch.nn.Module, stems: torch.Tensor) -> Scores:
    """SDR in dB of each stem that sounds."""
    estimate = separate(model, stems.sum(0))
    return {
        name: round(sdr_db(stem, part), 2)
        for name, stem, part in zip(SOURCES, stems, estimate, strict=True)
        if stem.any()
    }


def do_nothing(stems: torch.Tensor) -> Scores:
    """SDR of the mixture as the estimate of each stem that sounds."""
    mixture = stems.sum(0)
    return {
        name: round(sdr_db(stem, mixture), 2)
        for name, stem in zip(SOURCES, stems, strict=True)
        if stem.any()
    }


def check(model: torch.nn.Module, songs: Iterable[torch.Tensor]) -> Scores:
    """What should not come out of a separation; the first `CHECK_S` seconds of each song are used.

    `instrumental_vocals_db`: vocals found in songs without any, over the mixture; the median.
    `added_offset_db`: the largest constant offset that a stem adds to its share of the mixture's.
    `silence_peak`: the largest sample that silence gives.
    """
    vocals_db, offsets = [], []
    for song in songs:
        stems = song[..., : CHECK_S * RATE_HZ].clone()
        stems[VOCALS] = 0.0
        mixture = stems.sum(0)
        vocals_db.append(ratio_db(separate(model, mixture)[VOCALS], mixture))
        moved = separate(model, mixture + OFFSET).mean((1, 2)) - OFFSET / len(SOURCES)
        offsets.append(float((moved - stems.mean((1, 2))).abs().max()))
    return {
        "instrumental_vocals_db": round(float(np.median(vocals_db)), 1),
        "added_offset_db": round(20 * float(np.log10(max(offsets) + 1e-12)), 1),
        "silence_peak": float(separate(model, torch.zeros(2, 4 * RATE_HZ)).abs().max()),
    }


def music_vocals_db(model: torch.nn.Module, pieces: Iterable[Path]) -> float:
    """Vocals found in recordings of instrumental music, over the mixture; the median of the pieces.

    `CHECK_S` seconds of each are separated, from `MUSIC_START_S` on.
    """
    levels = []
    for piece in pieces:
        with soundfile.SoundFile(piece) as file:
            file.seek(MUSIC_START_S * file.samplerate)
            sound = file.read(CHECK_S * file.samplerate, dtype="float32", always_2d=True)
            wide = soxr.resample(sound, file.samplerate, RATE_HZ)
        # A mono piece plays on both sides.
        mixture = torch.from_numpy(np.ascontiguousarray(wide[:, [0, -1]].T))
        levels.append(ratio_db(separate(model, mixture)[VOCALS], mixture))
    return round(float(np.median(levels)), 1)


def medians(scores: Sequence[Scores], percentile: float = 50) -> Scores:
    """The median, or another percentile, over the songs of each stem."""
    return {
        name: round(
            float(np.percentile([row[name] for row in scores if name in row], percentile)), 2
        )
        for name in SOURCES
        if any(name in row for row in scores)
    }


def summary(songs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The scores of a set from those of its songs."""
    scores = [song["sdr"] for song in songs]
    return {
        "median": medians(scores),
        "worst_decile": medians(scores, 10),
        "mixture": medians([song["mixture"] for song in songs]),
        "songs": list(songs),
    }


def table(result: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = ["| songs | | " + " | ".join(SOURCES) + " |", "|---|---|" + "---:|" * 4]
    for name, scores in ((name, result["sets"][name]) for name in SETS if name in result["sets"]):
        counted = len(scores["songs"])
        for title, row in (
            (f"{SETS[name].title} ({counted} songs) | **median**", scores["median"]),
            (" | worst tenth", scores["worst_decile"]),
            (" | unprocessed mixture, median", scores["mixture"]),
        ):
            numbers = " | ".join(f"{row[source]:.1f}" for source in SOURCES)
            lines.append(f"| {title} | {numbers} |")
    return "\n".join(lines)


def run(
    model_path: Path, names: Sequence[str], music: Sequence[Path], count: int | None = None
) -> dict[str, Any]:
    """Measure the first `count` songs (None: all) of the named sets; return all scores.

    `music` are recordings of instrumental music, which are checked with the set `CHECKED`. Scores
    are also in `sdr.json`, with those of other sets that were measured before.
    """
    file = model_path.parent / SCORES_FILE.name
    sha256 = hashlib.sha256(model_path.read_bytes()).hexdigest()
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if result.get("model_sha256") != sha256:
        result = {"model_sha256": sha256, "sets": {}, "checks": {}}
    model = load_safetensors_model(model_path).eval()
    for name in names:
        test_set = SETS[name]
        songs = list(result["sets"].get(name, {}).get("songs", []))
        for seed in range(len(songs), min(test_set.count, count or test_set.count)):
            stems = load_stems(render_to_disk(seed, test_set.folder, test_set.render))
            who = test_set.describe(seed)
            sdr, mixture = measure_song(model, stems), do_nothing(stems)
            songs.append({"song": who, "sdr": sdr, "mixture": mixture})
            result["sets"][name] = summary(songs)
            _write(file, result)
    if CHECKED in names and not result["checks"]:
        paths = sorted(SETS[CHECKED].folder.glob("*.npy"))[:CHECK_SONGS]
        result["checks"] = {
            **check(model, map(load_stems, paths)),
            "music_vocals_db": music_vocals_db(model, music),
        }
        _write(file, result)
    return result


def _write(file: Path, result: dict[str, Any]) -> None:
    with replacing(file) as new:
        new.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FILE)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--count", type=int, help="measure at most so many songs of each set")
    arguments = parser.parse_args()
    if set(arguments.sets) - {"held_out"}:
        sources.require()
    result = run(arguments.model, arguments.sets, voices.music()[:MUSIC_PIECES], arguments.count)
    print(table(result))


if __name__ == "__main__":
    main()
