"""Trains demucs-mini for a bounded time on a GPU, from songs that are already rendered.

    python -m training.separation.make --count 400
    python -m training.separation.train --minutes 7
    python -m training.separation.train --minutes 7 --continue-from STATE
    python -m training.separation.train --minutes 7 --weights MODEL_FILE

All songs of the folder are kept in the memory of the GPU, which also mixes them. Songs that come
into the folder later are used after the next save. The state is saved every 2.5 minutes and at the
end; the model file beside it has the mean of the weights. With `--device cpu`, the same runs slowly
without a GPU.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from demucs.hf import load_safetensors_model

from training import loop, together
from training.loop import Progress
from training.mix import RATE_HZ
from training.render import SOURCES

from . import packed
from .network import MODEL_FILE, SEGMENT_S, TRAINING_FILE, build_model, save_model
from .remix import Remixer, Songs

RUN_FOLDER = Path(__file__).parents[1] / "runs" / "demucs-mini"
STATE_FILE = RUN_FOLDER / "state.pt"
READERS = 16


@dataclass(frozen=True)
class Plan(loop.Plan):
    """How to train demucs-mini, from the packed songs in the folder `songs`.

    `weights` is a model file to begin with, or empty. `bass_weight` is that of the bass's error,
    where the other sources have 1.
    """

    processes: int = 1
    batch: int = 24
    average_decay: float = 0.999
    songs: str = str(packed.SONGS)
    weights: str = ""
    bass_weight: float = 1.0
    device: str = "cuda"
    least: ClassVar[float] = 0.0


def objective(
    stems: torch.Tensor, estimate: torch.Tensor, bass_weight: float = 1.0
) -> torch.Tensor:
    """Weighted mean over items and sources of error over mixture, as amplitudes.

    Both are of shape (batch, 4, 2, samples).

    Within an item this is a squared error, whose best estimate is the mean of what is possible, as
    SDR wants it. The mean absolute error of Demucs's own training wants the median instead, which
    for a source that is often silent is too quiet.
    """
    error = (stems - estimate).square().mean((2, 3))
    mixture = stems.sum(1).square().mean((1, 2))[:, None] + 1e-8
    weights = torch.ones(len(SOURCES), device=stems.device)
    weights[SOURCES.index("bass")] = bass_weight
    return (error / mixture + 1e-4).sqrt().mean(0) @ (weights / weights.sum())


def error_ratio_db(stems: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Error power over mixture power in dB, of each source over the whole batch; shape (4,)."""
    error = (stems - estimate).square().mean((0, 2, 3))
    return 10.0 * torch.log10(error / stems.sum(1).square().mean() + 1e-8)


class Task:
    """What `loop.train` trains; it reports errors over the mixture in dB."""

    levels = tuple(SOURCES)

    def __init__(self, plan: Plan) -> None:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        self.plan = plan
        self.model = build_model().train()
        if plan.weights:
            before = load_safetensors_model(plan.weights).state_dict()
            self.model.load_state_dict({name: tensor.float() for name, tensor in before.items()})
        self.model.to(plan.device)
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(
                self.model.parameters(), lr=plan.peak_rate, betas=(0.9, 0.99), fused=True
            )
        ]
        self.audio: dict[Path, npt.NDArray[np.int16]] = {}

    def open_data(self, seeds: list[int]) -> None:
        """Read the songs of this process that are not in memory yet."""
        songs = packed.songs_of(Path(self.plan.songs))
        paths = [path for path in together.share(songs) if path not in self.audio]
        if not paths and not self.audio:
            raise SystemExit(f"{self.plan.songs} has no songs. Run training.separation.make.")
        # Forked processes have what is imported; they do not touch the GPU.
        with ProcessPoolExecutor(READERS, get_context("fork")) as pool:
            self.audio.update(zip(paths, pool.map(packed.read, paths), strict=True))
        if paths:
            self.bank = Songs(list(self.audio.values()), self.plan.device)
            print(f"{self.bank.count} songs", flush=True)
        seed = int(np.random.default_rng(seeds).integers(2**31))
        self.remixer = Remixer(self.bank, SEGMENT_S * RATE_HZ, seed)

    def next_batch(self) -> torch.Tensor:
        return self.remixer.batch(self.plan.batch)

    def backward(self, _progress: Progress) -> tuple[torch.Tensor, int]:
        stems = self.next_batch()
        with torch.autocast(self.plan.device, torch.bfloat16, enabled=self.plan.bfloat16):
            estimate = self.model(stems.sum(1))
        estimate = estimate.float()
        objective(stems, estimate, self.plan.bass_weight).backward()
        return error_ratio_db(stems, estimate.detach()), self.plan.batch


def save(state_file: Path, songs: int, folder: Path) -> None:
    """Write the model file, and beside it how it was trained (`training.json`)."""
    state = torch.load(state_file, weights_only=True, map_location="cpu")
    save_model(state["average"], folder / MODEL_FILE.name)
    # The remarks are sentences for the card that only a person can write: what was special about
    # this training.
    facts_file = folder / TRAINING_FILE.name
    together.write_facts(facts_file, state, "examples", songs=songs, remarks=[])


def main() -> None:
    plan, continue_from = loop.plan_from_command_line(__doc__, Plan(minutes=0.0))
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA GPU here. Use --device cpu to train slowly.")
    state_file = loop.train(Task, plan, STATE_FILE, continue_from)
    save(state_file, len(packed.songs_of(Path(plan.songs))), RUN_FOLDER)
    print(
        f"saved {state_file} and {MODEL_FILE.name} beside it; copy that and {TRAINING_FILE.name} "
        "to pretrained/demucs-mini, then run the modules evaluate and card of training.separation"
    )


if __name__ == "__main__":
    main()
