"""Trains decoder and text encoder for a given time on the clock; the codec stays as it is.

    python -m training.musicgen.train --minutes 20
    python -m training.musicgen.train --minutes 10 --start 0.5 --continue-from STATE

First the beginnings of pieces, later longer stretches too, and some that start anywhere, as when
generation continues from given sound.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn
from transformers import MusicgenForConditionalGeneration

from .. import together
from .codes import load_codes
from .network import CODEBOOKS, build_model, delayed
from .prompts import say_for_training
from .tokenizer import build_tokenizer

STATE_FILE = Path(__file__).parents[1] / "runs" / "musicgen-mini" / "state.pt"
WARM_UP_PART = 0.03
WITHOUT_PROMPT = 0.1
REPORT_EVERY_STEPS = 20


@dataclass(frozen=True)
class Stage:
    """What is trained up to the part `until` of the time. `batch` is per process."""

    until: float
    batch: int
    frames: int
    anywhere: float


STAGES = (
    Stage(0.40, 10, 130, 0.1),
    Stage(0.85, 5, 300, 0.1),
    Stage(1.00, 3, 500, 0.15),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How to train. `start` is the part of the stages that earlier runs have done."""

    minutes: float
    peak_rate: float = 2e-3
    processes: int = os.cpu_count() or 1
    seed: int = 0
    average_decay: float = 0.99
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
    pieces: int = 0
    recent: list[Tensor] = field(default_factory=list)

    def counters(self) -> dict[str, float]:
        """What is saved with the weights."""
        return {
            "step": self.step,
            "pieces": self.pieces,
            "total_s": self.before_s + self.elapsed_s,
        }


class Batch(NamedTuple):
    """Prompts (batch, words), what the decoder reads and what it is to write."""

    words: Tensor
    mask: Tensor
    inputs: Tensor
    targets: Tensor


class Examples:
    """An endless source of prompts with the codes of a piece that follows them."""

    def __init__(self, seeds: list[int]) -> None:
        self.rng = np.random.default_rng(seeds)
        self.codes, self.combinations = load_codes()
        self.tokenizer = build_tokenizer()

    def batch(self, stage: Stage) -> Batch:
        """Draw a batch; some of the prompts are masked altogether, for guidance."""
        numbers = self.rng.integers(len(self.codes), size=stage.batch)
        codes = np.stack([self._stretch(number, stage) for number in numbers])
        texts = [say_for_training(self.combinations[number], self.rng) for number in numbers]
        words = self.tokenizer(texts, padding=True, return_tensors="pt")
        kept = torch.from_numpy(self.rng.random(stage.batch) >= WITHOUT_PROMPT)
        mask = words.attention_mask * kept[:, None]
        return Batch(words.input_ids, mask, *delayed(torch.from_numpy(codes.astype(np.int64))))

    def _stretch(self, number: int, stage: Stage) -> np.ndarray:
        codes = self.codes[number]
        start = 0
        if self.rng.random() < stage.anywhere:
            start = int(self.rng.integers(codes.shape[-1] - stage.frames + 1))
        return codes[:, start : start + stage.frames]


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    together.run(_work, plan.processes, plan, continue_from)
    return STATE_FILE


def _work(rank: int, plan: Plan, continue_from: Path | None, meeting_point: str) -> None:
    """What each process does; the first one also averages the weights, reports and saves."""
    together.join(rank, plan.processes, plan.seed, meeting_point)
    model = build_model().train()
    del model.audio_encoder
    optimisers = make_optimisers(model, plan)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    progress = Progress()
    if continue_from is not None:
        before = together.restore(continue_from, model, optimisers, average)
        progress = Progress(
            step=before["step"], before_s=before["total_s"], pieces=before["pieces"]
        )
    source = Examples([plan.seed, progress.step, rank])
    start_s, saved_s, parent = time.monotonic(), 0.0, os.getppid()
    # A worker whose parent was killed must not go on, or it would overwrite a later run's state.
    while progress.elapsed_s < 60.0 * plan.minutes and os.getppid() == parent:
        stage = plan.stage(progress.elapsed_s)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = plan.rate(progress.elapsed_s)
        losses = _backward(model, source.batch(stage), plan)
        progress.elapsed_s = together.share_gradients(model, time.monotonic() - start_s)
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
        for optimiser in optimisers:
            optimiser.step()
        progress.recent.append(losses)
        progress.step += 1
        progress.pieces += stage.batch * plan.processes
        if rank == 0:
            together.update_average(average, model, plan.average_decay, progress.step)
            if progress.step % REPORT_EVERY_STEPS == 0:
                _report(progress, plan, stage)
            if progress.elapsed_s - saved_s > together.SAVE_EVERY_S:
                together.save(STATE_FILE, model, optimisers, average, **progress.counters())
                saved_s = progress.elapsed_s
    if rank == 0 and os.getppid() == parent:
        together.save(STATE_FILE, model, optimisers, average, **progress.counters())
    distributed.destroy_process_group()


def make_optimisers(
    model: MusicgenForConditionalGeneration, plan: Plan
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    layers = [*model.text_encoder.encoder.block, *model.decoder.model.decoder.layers]
    matrices = [
        weight
        for layer in layers
        for module in layer.modules()
        if isinstance(module, nn.Linear)
        for weight in [module.weight]
    ]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=plan.peak_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            rest, lr=plan.peak_rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True
        ),
    ]


def _backward(model: MusicgenForConditionalGeneration, batch: Batch, plan: Plan) -> Tensor:
    """The gradient of one batch of this process; returns the loss of each codebook."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        logits = model(
            input_ids=batch.words,
            attention_mask=batch.mask,
            decoder_input_ids=batch.inputs.flatten(0, 1),
            use_cache=False,
        ).logits
    logits = logits.float().unflatten(0, (-1, CODEBOOKS))
    losses = torch.stack([
        nn.functional.cross_entropy(logits[:, book].flatten(0, 1), batch.targets[:, book].flatten())
        for book in range(CODEBOOKS)
    ])  # fmt: skip
    losses.mean().backward()
    return losses.detach()


def _report(progress: Progress, plan: Plan, stage: Stage) -> None:
    levels = torch.stack(progress.recent).mean(0).tolist()
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  {stage.frames} frames  "
        f"rate {plan.rate(progress.elapsed_s):.1e}  loss "
        + "  ".join(f"{level:.3f}" for level in levels),
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
    parser.add_argument("--continue-from", type=Path)
    arguments = parser.parse_args()
    plan = Plan(
        minutes=arguments.minutes,
        peak_rate=arguments.peak_rate,
        processes=arguments.processes,
        seed=arguments.seed,
        start=arguments.start,
    )
    print(f"saved {train(plan, arguments.continue_from).name}")


if __name__ == "__main__":
    main()
