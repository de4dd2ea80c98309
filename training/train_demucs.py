"""Trains the small HTDemucs for a given time on the clock.

    python -m training.train_demucs --minutes 90
    python -m training.train_demucs --minutes 20 --continue-from training/runs/demucs-mini/state.pt

The learning rate warms up and then falls to zero along a cosine of the time that has passed, so
a run ends well however fast the machine is.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .dataset import SongMixer
from .model import SEGMENT_S, build_model
from .render import RATE_HZ, SOURCES, song_folder

RUN_FOLDER = Path(__file__).parent / "runs" / "demucs-mini"
WARM_UP_PART = 0.02
SAVE_EVERY_S = 150.0
REPORT_EVERY_STEPS = 50
# Errors more than this far below the mixture do not count: a silent stem cannot be hit exactly.
FLOOR_DB = -30.0


@dataclass
class Plan:
    """How to train: all that is not the data or the network."""

    minutes: float
    peak_rate: float = 1e-3
    batch: int = 3
    seed: int = 0
    average_decay: float = 0.998
    clip_norm: float = 1.0
    bfloat16: bool = True

    def rate(self, elapsed_s: float) -> float:
        """Learning rate after `elapsed_s` seconds."""
        done = min(1.0, elapsed_s / (60.0 * self.minutes))
        if done < WARM_UP_PART:
            return self.peak_rate * max(0.02, done / WARM_UP_PART)
        fall = (done - WARM_UP_PART) / (1.0 - WARM_UP_PART)
        return self.peak_rate * 0.5 * (1.0 + math.cos(math.pi * fall))


@dataclass
class Progress:
    """What a run has done so far. `elapsed_s` counts this run, `total_s` all runs."""

    step: int = 0
    elapsed_s: float = 0.0
    total_s: float = 0.0
    recent: list[torch.Tensor] = field(default_factory=list)


def error_ratio_db(stems: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Error power over mixture power in dB, floored; (batch, 4, 2, samples) to (batch, 4)."""
    error = (stems - estimate).square().mean((2, 3))
    mixture = stems.sum(1).square().mean((1, 2))[:, None] + 1e-8
    return 10.0 * torch.log10(error / mixture + 10.0 ** (FLOOR_DB / 10.0))


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    model = build_model().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=plan.peak_rate, betas=(0.9, 0.99))
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    progress = Progress()
    if continue_from is not None:
        state = torch.load(continue_from, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average = state["average"]
        progress = Progress(step=state["step"], total_s=state["total_s"])
    mixer = SongMixer(song_folder(held_out=False), SEGMENT_S * RATE_HZ, plan.seed + progress.step)
    start_s, before_s = time.monotonic(), progress.total_s
    saved_s = 0.0
    while progress.elapsed_s < 60.0 * plan.minutes:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(progress.elapsed_s)
        progress.recent.append(_step(model, optimiser, mixer.batch(plan.batch), plan))
        progress.step += 1
        _update_average(average, model, plan.average_decay, progress.step)
        progress.elapsed_s = time.monotonic() - start_s
        progress.total_s = before_s + progress.elapsed_s
        if progress.step % REPORT_EVERY_STEPS == 0:
            _report(progress, plan, len(mixer.songs))
            mixer.refresh()
        if progress.elapsed_s - saved_s > SAVE_EVERY_S:
            _save(model, optimiser, average, progress)
            saved_s = progress.elapsed_s
    return _save(model, optimiser, average, progress)


def _step(
    model: torch.nn.Module, optimiser: torch.optim.Optimizer, stems: torch.Tensor, plan: Plan
) -> torch.Tensor:
    """One optimiser step; returns the batch mean of the error ratio, shape (4,)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        estimate = model(stems.sum(1))
    ratio_db = error_ratio_db(stems, estimate.float())
    optimiser.zero_grad()
    ratio_db.mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
    optimiser.step()
    return ratio_db.detach().mean(0)


@torch.no_grad()
def _update_average(
    average: dict[str, torch.Tensor], model: torch.nn.Module, decay: float, step: int
) -> None:
    keep = min(decay, (1 + step) / (10 + step))
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1.0 - keep)


def _report(progress: Progress, plan: Plan, songs: int) -> None:
    levels = torch.stack(progress.recent).mean(0).tolist()
    named = "  ".join(f"{name} {level:.2f}" for name, level in zip(SOURCES, levels, strict=True))
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  {songs} songs  "
        f"rate {plan.rate(progress.elapsed_s):.2e}  error dB: {named}",
        flush=True,
    )
    progress.recent.clear()


def _save(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
    progress: Progress,
) -> Path:
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average,
        "step": progress.step,
        "total_s": progress.total_s,
    }
    RUN_FOLDER.mkdir(parents=True, exist_ok=True)
    path = RUN_FOLDER / "state.pt"
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--peak-rate", type=float, default=Plan.peak_rate)
    parser.add_argument("--batch", type=int, default=Plan.batch)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--float32", action="store_true", help="do not use bfloat16")
    parser.add_argument("--continue-from", type=Path)
    arguments = parser.parse_args()
    plan = Plan(
        minutes=arguments.minutes,
        peak_rate=arguments.peak_rate,
        batch=arguments.batch,
        seed=arguments.seed,
        bfloat16=not arguments.float32,
    )
    print(f"saved {train(plan, arguments.continue_from).name}")


if __name__ == "__main__":
    main()
