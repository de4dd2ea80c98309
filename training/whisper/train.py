"""Trains whisper-mini for a given time on the clock.

    python -m training.whisper.train --minutes 90
    python -m training.whisper.train --minutes 20 --start 0.5 --continue-from STATE

Short windows at random places of the 30 s, where words are learnt at little cost, take turns with
whole ones with silence, songs and prompts; there are more of the latter later, and more silence in
the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from .. import loop
from ..loop import Progress
from .losses import Losses, collate, compute
from .network import MiniWhisper
from .windows import Mixture, Windows

STATE_FILE = Path(__file__).parents[1] / "runs" / "whisper-mini" / "state.pt"


@dataclass(frozen=True)
class Stage:
    """What is trained up to the part `until` of the time.

    The steps take turns with `turns`: how many windows a process takes, and what they hold.
    """

    until: float
    turns: tuple[tuple[int, Mixture], ...]
    attention: float
    frames: float


_SHORT = Mixture(10.0, silent=0.03, sung=0.06, clean=0.3)
_LONG = Mixture(30.0, silent=0.06, sung=0.1, prompts=0.1, cuts=0.5, clean=0.25)
_QUIET = Mixture(30.0, silent=0.3, sung=0.1, prompts=0.1, cuts=0.5, clean=0.25)
STAGES = (
    Stage(0.50, ((10, _SHORT), (3, _LONG)), 0.5, 1.0),
    Stage(0.95, ((10, _SHORT), (3, _LONG), (3, _LONG), (3, _LONG)), 0.6, 0.5),
    Stage(1.00, ((10, _SHORT), (3, _LONG), (3, _QUIET), (3, _QUIET)), 0.6, 0.5),
)


@dataclass(frozen=True)
class Plan(loop.Plan):
    """How to train whisper-mini."""

    peak_rate: float = 1.4e-3
    average_decay: float = 0.997


class Task:
    """What `loop.train` trains."""

    levels: tuple[str, ...] = (
        "tokens",
        "attention",
        "words",
        "phonemes",
        "tokens right",
        "words right",
    )

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.model = MiniWhisper().train()
        self.optimisers = make_optimisers(self.model, plan)

    def open_data(self, seeds: list[int]) -> None:
        self.source = Windows(seeds)

    def backward(self, progress: Progress) -> tuple[torch.Tensor, int]:
        part = self.plan.part(progress.elapsed_s)
        stage = next(stage for stage in STAGES if part <= stage.until)
        count, mixture = stage.turns[progress.step % len(stage.turns)]
        batch = collate([self.source.example(mixture) for _ in range(count)])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            outputs = self.model(batch.mel, batch.offset, batch.inputs)
        losses: Losses = compute(outputs, batch)
        total = (
            losses.tokens
            + stage.attention * losses.attention
            + stage.frames * (losses.words + losses.phonemes)
        )
        total.backward()
        return losses.stack(), count


def make_optimisers(model: MiniWhisper, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for everything else."""
    blocks = [*model.whisper.encoder.blocks, *model.whisper.decoder.blocks]
    matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
    return loop.muon_and_adamw(model, matrices, plan.peak_rate)


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    return loop.train(Task, plan, STATE_FILE, continue_from)


def main() -> None:
    plan, continue_from = loop.plan_from_command_line(__doc__, Plan(minutes=0.0))
    print(f"saved {train(plan, continue_from).name}")


if __name__ == "__main__":
    main()
