"""The loop of every training here: for a given time on the clock, on all cores.

One process per CPU core computes the gradient of its own batch on one thread, and the gradients
are averaged at every step: this is faster than one process on all cores, most of all when other
programs use the machine too. The learning rate warms up and then falls along a cosine of the time
that has passed, so a run ends well however fast the machine is.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from . import together

WARM_UP_PART = 0.03
REPORT_EVERY_STEPS = 20


@dataclass(frozen=True)
class Plan:
    """How to train: all that is not the data or the network.

    `start` is the part of the stages that earlier runs have done, `least` the part of the peak
    rate that is left in the end.
    """

    minutes: float
    peak_rate: float = 1e-3
    processes: int = os.cpu_count() or 1
    seed: int = 0
    average_decay: float = 0.998
    clip_norm: float = 1.0
    bfloat16: bool = True
    start: float = 0.0
    least: ClassVar[float] = 0.01

    def done(self, elapsed_s: float) -> float:
        return min(1.0, elapsed_s / (60.0 * self.minutes))

    def rate(self, elapsed_s: float) -> float:
        """Learning rate after `elapsed_s` seconds."""
        done = self.done(elapsed_s)
        if done < WARM_UP_PART:
            return self.peak_rate * max(0.02, done / WARM_UP_PART)
        fall = 0.5 * (1.0 + math.cos(math.pi * (done - WARM_UP_PART) / (1.0 - WARM_UP_PART)))
        return self.peak_rate * (self.least + (1.0 - self.least) * fall)

    def part(self, elapsed_s: float) -> float:
        """The part of the stages that is done."""
        return self.start + (1.0 - self.start) * self.done(elapsed_s)


@dataclass
class Progress:
    """What has been done so far. `elapsed_s` counts this run, `before_s` the runs before it."""

    step: int = 0
    elapsed_s: float = 0.0
    before_s: float = 0.0
    examples: int = 0
    recent: list[Tensor] = field(default_factory=list)

    def counters(self) -> dict[str, float]:
        """What is saved with the weights."""
        return {
            "step": self.step,
            "examples": self.examples,
            "total_s": self.before_s + self.elapsed_s,
        }


class Task(Protocol):
    """What is trained: a network, its optimisers, and the gradients of its examples."""

    model: nn.Module
    optimisers: list[torch.optim.Optimizer]
    levels: tuple[str, ...]
    """The names of what `backward` returns."""

    def open_data(self, seeds: list[int]) -> None:
        """Find the examples; called again now and then, since there may be more by then."""

    def backward(self, progress: Progress) -> tuple[Tensor, int]:
        """The gradient of one batch of this process; levels to report, and its examples."""


def train(
    make_task: Callable[[Any], Task], plan: Plan, state_file: Path, continue_from: Path | None
) -> Path:
    """Train `make_task(plan)` until the minutes are over; returns `state_file`."""
    together.run(_work, plan.processes, make_task, plan, state_file, continue_from)
    return state_file


def _work(
    rank: int,
    make_task: Callable[[Any], Task],
    plan: Plan,
    state_file: Path,
    continue_from: Path | None,
    meeting_point: str,
) -> None:
    """What each process does; the first one also averages the weights, reports and saves."""
    together.join(rank, plan.processes, plan.seed, meeting_point)
    task = make_task(plan)
    average = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    progress = Progress()
    if continue_from is not None:
        before = together.restore(continue_from, task.model, task.optimisers, average)
        progress = Progress(before["step"], 0.0, before["total_s"], before["examples"])
    task.open_data([plan.seed, progress.step, rank])
    start_s, saved_s, parent = time.monotonic(), 0.0, os.getppid()
    # A worker whose parent was killed must not go on, or it would overwrite a later run's state.
    while progress.elapsed_s < 60.0 * plan.minutes and os.getppid() == parent:
        _step(task, plan, progress, start_s)
        if rank == 0:
            together.update_average(average, task.model, plan.average_decay, progress.step)
            if progress.step % REPORT_EVERY_STEPS == 0:
                _report(task, plan, progress)
        if progress.elapsed_s - saved_s > together.SAVE_EVERY_S:
            saved_s = progress.elapsed_s
            if rank == 0:
                _save(state_file, task, average, progress)
            task.open_data([plan.seed, progress.step, rank])
    if rank == 0 and os.getppid() == parent:
        _save(state_file, task, average, progress)
    together.leave()


def _step(task: Task, plan: Plan, progress: Progress, start_s: float) -> None:
    """One step of the optimisers with the gradient of all processes."""
    for optimiser in task.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(progress.elapsed_s)
    task.model.zero_grad()
    levels, examples = task.backward(progress)
    progress.elapsed_s = together.share_gradients(task.model, time.monotonic() - start_s)
    torch.nn.utils.clip_grad_norm_(task.model.parameters(), plan.clip_norm)
    for optimiser in task.optimisers:
        optimiser.step()
    progress.recent.append(levels)
    progress.step += 1
    progress.examples += examples * plan.processes


def _report(task: Task, plan: Plan, progress: Progress) -> None:
    levels = torch.stack(progress.recent).mean(0).tolist()
    named = "  ".join(
        f"{name} {level:.3f}" for name, level in zip(task.levels, levels, strict=True)
    )
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  "
        f"rate {plan.rate(progress.elapsed_s):.1e}  {named}",
        flush=True,
    )
    progress.recent.clear()


def _save(state_file: Path, task: Task, average: together.Weights, progress: Progress) -> None:
    together.save(state_file, task.model, task.optimisers, average, **progress.counters())


def muon_and_adamw(
    model: nn.Module, matrices: Iterable[nn.Parameter], peak_rate: float
) -> list[torch.optim.Optimizer]:
    """Muon for the given matrices, AdamW for everything else.

    Muon (Jordan et al. 2024) makes every update orthogonal; scaled as in Liu et al. 2025
    (arXiv:2502.16982), it takes the learning rate of AdamW.
    """
    chosen = {id(weight): weight for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    return [
        torch.optim.Muon(
            chosen.values(), lr=peak_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True),
    ]


_Plan = TypeVar("_Plan", bound=Plan)


def plan_from_command_line(description: str | None, plan: _Plan) -> tuple[_Plan, Path | None]:
    """The plan with what the command line says, and the state to continue from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, required=True)
    for name in (one.name for one in fields(plan) if one.name not in ("minutes", "bfloat16")):
        default = getattr(plan, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--float32", action="store_true", help="do not use bfloat16")
    parser.add_argument("--continue-from", type=Path, help="a saved state")
    given = vars(parser.parse_args())
    continue_from = given.pop("continue_from")
    return replace(plan, bfloat16=not given.pop("float32"), **given), continue_from
