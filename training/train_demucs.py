"""Trains the small HTDemucs for a given time on the clock.

    python -m training.train_demucs --minutes 90
    python -m training.train_demucs --minutes 20 --continue-from training/runs/demucs-mini/state.pt

One process per CPU core computes the gradient of its own batch on one thread, and the gradients
are averaged at every step: this is faster than one process on all cores, most of all when other
programs use the machine too. The learning rate warms up and then falls to zero along a cosine of
the time that has passed, so a run ends well however fast the machine is.
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

from . import together
from .dataset import SongMixer
from .model import SEGMENT_S, build_model
from .render import RATE_HZ, SOURCES, song_folder

STATE_FILE = Path(__file__).parent / "runs" / "demucs-mini" / "state.pt"
WARM_UP_PART = 0.02
REPORT_EVERY_STEPS = 25


@dataclass(frozen=True)
class Plan:
    """How to train: all that is not the data or the network. `batch` is per process."""

    minutes: float
    peak_rate: float = 1e-3
    batch: int = 2
    processes: int = os.cpu_count() or 1
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
    """What has been done so far. `elapsed_s` counts this run, `before_s` the runs before it."""

    step: int = 0
    elapsed_s: float = 0.0
    before_s: float = 0.0
    recent: list[torch.Tensor] = field(default_factory=list)

    def counters(self) -> dict[str, float]:
        """What is saved with the weights."""
        return {"step": self.step, "total_s": self.before_s + self.elapsed_s}


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


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    together.run(_work, plan.processes, plan, continue_from)
    return STATE_FILE


def _work(rank: int, plan: Plan, continue_from: Path | None, meeting_point: str) -> None:
    """What each process does; the first one also averages the weights, reports and saves."""
    together.join(rank, plan.processes, plan.seed, meeting_point)
    model = build_model().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=plan.peak_rate, betas=(0.9, 0.99))
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    progress = Progress()
    if continue_from is not None:
        before = together.restore(continue_from, model, [optimiser], average)
        progress = Progress(step=before["step"], before_s=before["total_s"])
    mixer = SongMixer(
        song_folder(held_out=False), SEGMENT_S * RATE_HZ, [plan.seed, progress.step, rank]
    )
    start_s, saved_s, parent = time.monotonic(), 0.0, os.getppid()
    # A worker whose parent was killed must not go on, or it would overwrite a later run's state.
    while progress.elapsed_s < 60.0 * plan.minutes and os.getppid() == parent:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(progress.elapsed_s)
        levels, progress.elapsed_s = _step(
            model, optimiser, mixer.batch(plan.batch), plan, time.monotonic() - start_s
        )
        progress.recent.append(levels)
        progress.step += 1
        if progress.step % REPORT_EVERY_STEPS == 0:
            mixer.refresh()
        if rank == 0:
            together.update_average(average, model, plan.average_decay, progress.step)
            if progress.step % REPORT_EVERY_STEPS == 0:
                _report(progress, plan, len(mixer.songs))
            if progress.elapsed_s - saved_s > together.SAVE_EVERY_S:
                together.save(STATE_FILE, model, [optimiser], average, **progress.counters())
                saved_s = progress.elapsed_s
    if rank == 0 and os.getppid() == parent:
        together.save(STATE_FILE, model, [optimiser], average, **progress.counters())
    distributed.destroy_process_group()


def _step(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    stems: torch.Tensor,
    plan: Plan,
    elapsed_s: float,
) -> tuple[torch.Tensor, float]:
    """One optimiser step with the gradient of all processes.

    Returns the error ratios of this process's batch, shape (4,), and the time that has passed.
    The processes agree on that time, because they must use the same rate and stop together.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        estimate = model(stems.sum(1))
    estimate = estimate.float()
    optimiser.zero_grad()
    objective(stems, estimate).backward()
    elapsed_s = together.share_gradients(model, elapsed_s)
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
    optimiser.step()
    return error_ratio_db(stems, estimate.detach()), elapsed_s


def _report(progress: Progress, plan: Plan, songs: int) -> None:
    levels = torch.stack(progress.recent).mean(0).tolist()
    named = "  ".join(f"{name} {level:.2f}" for name, level in zip(SOURCES, levels, strict=True))
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  {songs} songs  "
        f"rate {plan.rate(progress.elapsed_s):.2e}  error dB: {named}",
        flush=True,
    )
    progress.recent.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--peak-rate", type=float, default=Plan.peak_rate)
    parser.add_argument("--batch", type=int, default=Plan.batch, help="per process")
    parser.add_argument("--processes", type=int, default=Plan.processes)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--float32", action="store_true", help="do not use bfloat16")
    parser.add_argument("--continue-from", type=Path)
    arguments = parser.parse_args()
    plan = Plan(
        minutes=arguments.minutes,
        peak_rate=arguments.peak_rate,
        batch=arguments.batch,
        processes=arguments.processes,
        seed=arguments.seed,
        bfloat16=not arguments.float32,
    )
    print(f"saved {train(plan, arguments.continue_from).name}")


if __name__ == "__main__":
    main()
