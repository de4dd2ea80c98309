"""Trains the small HTDemucs for a given time on the clock.

python -m training.train_demucs --minutes 90
python -m training.train_demucs --minutes 20 --continue-from training/runs/demucs-mini/state.pt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from demucs.hf import load_safetensors_model

from . import loop
from .dataset import SongMixer
from .loop import Progress
from .mix import RATE_HZ
from .model import SEGMENT_S, build_model
from .render import SOURCES, song_folder

STATE_FILE = Path(__file__).parent / "runs" / "demucs-mini" / "state.pt"


@dataclass(frozen=True)
class Plan(loop.Plan):
    """How to train demucs-mini. `batch` is per process.

    `songs` is a folder of rendered songs. `weights` is a model file to begin with, or empty.
    """

    batch: int = 2
    songs: str = str(song_folder(held_out=False))
    weights: str = ""
    device: str = "cpu"
    least: ClassVar[float] = 0.0


def objective(stems: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Mean over items and sources of error over mixture, as amplitudes; (batch, 4, 2, samples).

    Within an item this is a squared error, whose best estimate is the mean of what is possible, as
    SDR wants it. The mean absolute error of Demucs's own training wants the median instead, which
    for a source that is often silent is too quiet.
    """
    error = (stems - estimate).square().mean((2, 3))
    mixture = stems.sum(1).square().mean((1, 2))[:, None] + 1e-8
    return (error / mixture + 1e-4).sqrt().mean()


def error_ratio_db(stems: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Error power over mixture power in dB, of each source over the whole batch; shape (4,)."""
    error = (stems - estimate).square().mean((0, 2, 3))
    return 10.0 * torch.log10(error / stems.sum(1).square().mean() + 1e-8)


class Task:
    """What `loop.train` trains; it reports errors over the mixture in dB."""

    levels = tuple(SOURCES)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.model = build_model().train()
        if plan.weights:
            before = load_safetensors_model(plan.weights).state_dict()
            self.model.load_state_dict({name: tensor.float() for name, tensor in before.items()})
        self.model.to(plan.device)
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(self.model.parameters(), lr=plan.peak_rate, betas=(0.9, 0.99))
        ]

    def open_data(self, seeds: list[int]) -> None:
        self.mixer = SongMixer(Path(self.plan.songs), SEGMENT_S * RATE_HZ, seeds)

    def next_batch(self) -> torch.Tensor:
        return self.mixer.batch(self.plan.batch)

    def backward(self, _progress: Progress) -> tuple[torch.Tensor, int]:
        stems = self.next_batch().to(self.plan.device)
        with torch.autocast(self.plan.device, torch.bfloat16, enabled=self.plan.bfloat16):
            estimate = self.model(stems.sum(1))
        estimate = estimate.float()
        objective(stems, estimate).backward()
        return error_ratio_db(stems, estimate.detach()).cpu(), self.plan.batch


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    return loop.train(Task, plan, STATE_FILE, continue_from)


def main() -> None:
    plan, continue_from = loop.plan_from_command_line(__doc__, Plan(minutes=0.0))
    print(f"saved {train(plan, continue_from).name}")


if __name__ == "__main__":
    main()
