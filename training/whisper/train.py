"""Trains whisper-mini for a given time on the clock.

    python -m training.whisper.train --minutes 90
    python -m training.whisper.train --minutes 20 --start 0.5 --continue-from STATE

One process per CPU core computes the gradient of its own batch on one thread, and the gradients
are averaged at every step. The learning rate warms up and then falls along a cosine of the time
that has passed. Short windows at random places of the 30 s, where words are learnt at little cost,
take turns with whole ones with silence, songs and prompts; there are more of the latter in the end.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed

from .. import together
from .losses import Losses, collate, compute
from .network import MiniWhisper
from .windows import Mixture, Windows

STATE_FILE = Path(__file__).parents[1] / "runs" / "whisper-mini" / "state.pt"
WARM_UP_PART = 0.03
REPORT_EVERY_STEPS = 20


@dataclass(frozen=True)
class Stage:
    """What is trained up to the part `until` of the time.

    The steps take turns with `turns`: how many windows a process takes, and what they hold.
    """

    until: float
    turns: tuple[tuple[int, Mixture], ...]
    attention: float
    frames: float


_SHORT = Mixture(10.0, silent=0.03, sung=0.05, clean=0.5)
_LONG = Mixture(30.0, silent=0.08, sung=0.08, prompts=0.1, cuts=0.6, clean=0.5)
STAGES = (
    Stage(0.50, ((10, _SHORT), (3, _LONG)), 0.5, 1.0),
    Stage(1.00, ((10, _SHORT), (3, _LONG), (3, _LONG), (3, _LONG)), 0.6, 0.5),
)


@dataclass(frozen=True)
class Plan:
    """How to train. `start` is the part of the stages that earlier runs have done."""

    minutes: float
    peak_rate: float = 1.4e-3
    processes: int = os.cpu_count() or 1
    seed: int = 0
    average_decay: float = 0.997
    clip_norm: float = 1.0
    bfloat16: bool = True
    start: float = 0.0

    def done(self, elapsed_s: float) -> float:
        return min(1.0, elapsed_s / (60.0 * self.minutes))

    def rate(self, elapsed_s: float) -> float:
        """Learning rate after `elapsed_s` seconds."""
        done = self.done(elapsed_s)
        if done < WARM_UP_PART:
            return self.peak_rate * max(0.02, done / WARM_UP_PART)
        fall = (done - WARM_UP_PART) / (1.0 - WARM_UP_PART)
        return self.peak_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * fall)))

    def stage(self, elapsed_s: float) -> Stage:
        part = self.start + (1.0 - self.start) * self.done(elapsed_s)
        return next(stage for stage in STAGES if part <= stage.until)


@dataclass
class Progress:
    """What has been done so far. `elapsed_s` counts this run, `before_s` the runs before it."""

    step: int = 0
    elapsed_s: float = 0.0
    before_s: float = 0.0
    windows: int = 0
    recent: list[torch.Tensor] = field(default_factory=list)

    def counters(self) -> dict[str, float]:
        """What is saved with the weights."""
        return {
            "step": self.step,
            "windows": self.windows,
            "total_s": self.before_s + self.elapsed_s,
        }


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    together.run(_work, plan.processes, plan, continue_from)
    return STATE_FILE


def _work(rank: int, plan: Plan, continue_from: Path | None, meeting_point: str) -> None:
    """What each process does; the first one also averages the weights, reports and saves."""
    together.join(rank, plan.processes, plan.seed, meeting_point)
    model = MiniWhisper().train()
    optimisers = make_optimisers(model, plan)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    progress = Progress()
    if continue_from is not None:
        before = together.restore(continue_from, model, optimisers, average)
        progress = Progress(
            step=before["step"], before_s=before["total_s"], windows=before["windows"]
        )
    source = Windows([plan.seed, progress.step, rank])
    start_s, saved_s, parent = time.monotonic(), 0.0, os.getppid()
    # A worker whose parent was killed must not go on, or it would overwrite a later run's state.
    while progress.elapsed_s < 60.0 * plan.minutes and os.getppid() == parent:
        stage = plan.stage(progress.elapsed_s)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = plan.rate(progress.elapsed_s)
        count, mixture = stage.turns[progress.step % len(stage.turns)]
        parts = _backward(model, source, stage, count, mixture, plan)
        progress.elapsed_s = together.share_gradients(model, time.monotonic() - start_s)
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
        for optimiser in optimisers:
            optimiser.step()
        progress.recent.append(parts)
        progress.step += 1
        progress.windows += count * plan.processes
        if rank == 0:
            together.update_average(average, model, plan.average_decay, progress.step)
            if progress.step % REPORT_EVERY_STEPS == 0:
                _report(progress, plan)
        if progress.elapsed_s - saved_s > together.SAVE_EVERY_S:
            if rank == 0:
                together.save(STATE_FILE, model, optimisers, average, **progress.counters())
            saved_s = progress.elapsed_s
            # There may be more speech and songs on the disk by now.
            source = Windows([plan.seed, progress.step, rank])
    if rank == 0 and os.getppid() == parent:
        together.save(STATE_FILE, model, optimisers, average, **progress.counters())
    distributed.destroy_process_group()


def make_optimisers(model: MiniWhisper, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for everything else.

    Muon (Jordan et al. 2024) makes every update orthogonal; scaled as in Liu et al. 2025
    (arXiv:2502.16982), it takes the learning rate of AdamW.
    """
    blocks = [*model.whisper.encoder.blocks, *model.whisper.decoder.blocks]
    matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=plan.peak_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            rest, lr=plan.peak_rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True
        ),
    ]


def _backward(
    model: MiniWhisper, source: Windows, stage: Stage, count: int, mixture: Mixture, plan: Plan
) -> torch.Tensor:
    """The gradient of `count` windows in this process; returns the parts of the loss."""
    batch = collate([source.example(mixture) for _ in range(count)])
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        outputs = model(batch.mel, batch.offset, batch.inputs)
    losses: Losses = compute(outputs, batch)
    total = (
        losses.tokens
        + stage.attention * losses.attention
        + stage.frames * (losses.words + losses.phonemes)
    )
    total.backward()
    return losses.stack()


def _report(progress: Progress, plan: Plan) -> None:
    names = ("tokens", "attention", "words", "phonemes", "tokens right", "words right")
    levels = torch.stack(progress.recent).mean(0).tolist()
    named = "  ".join(f"{name} {level:.3f}" for name, level in zip(names, levels, strict=True))
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  "
        f"rate {plan.rate(progress.elapsed_s):.1e}  {named}",
        flush=True,
    )
    progress.recent.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--peak-rate", type=float, default=Plan.peak_rate)
    parser.add_argument("--processes", type=int, default=Plan.processes)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--start", type=float, default=Plan.start, help="skip this part, 0 to 1")
    parser.add_argument("--float32", action="store_true", help="do not use bfloat16")
    parser.add_argument("--continue-from", type=Path)
    arguments = parser.parse_args()
    plan = Plan(
        minutes=arguments.minutes,
        peak_rate=arguments.peak_rate,
        processes=arguments.processes,
        seed=arguments.seed,
        bfloat16=not arguments.float32,
        start=arguments.start,
    )
    print(f"saved {train(plan, arguments.continue_from).name}")


if __name__ == "__main__":
    main()
