"""Trains the codec for a given time on the clock.

    python -m training.musicgen.train_codec --minutes 12
    python -m training.musicgen.train_codec --minutes 6 --continue-from STATE

At first sounds go through encoder and decoder alone; then k-means of what the encoder says gives
the codebooks, and the sounds go through them too.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed
from transformers import EncodecModel

from .. import together
from .codec import Quantiser, SpectralLoss, build_codec
from .pieces import write_piece
from .prompts import split_combinations
from .sounds import FRAME_SAMPLES, Player

STATE_FILE = Path(__file__).parents[1] / "runs" / "musicgen-mini" / "codec.pt"
WARM_UP_PART = 0.02
UNQUANTISED_PART = 0.25
HOLD_PART = 0.6
COMMITMENT = 0.25
CROP_FRAMES = 40
PIECE_FRAMES = 320
BATCHES_TO_START = 60
REPORT_EVERY_STEPS = 50


@dataclass(frozen=True)
class Plan:
    """How to train. `batch` is per process."""

    minutes: float
    peak_rate: float = 1.5e-3
    batch: int = 5
    processes: int = os.cpu_count() or 1
    seed: int = 0
    clip_norm: float = 1.0
    bfloat16: bool = True

    def done(self, elapsed_s: float) -> float:
        return min(1.0, elapsed_s / (60.0 * self.minutes))

    def rate(self, elapsed_s: float) -> float:
        """Learning rate after `elapsed_s` seconds."""
        done = self.done(elapsed_s)
        if done < WARM_UP_PART:
            return self.peak_rate * max(0.02, done / WARM_UP_PART)
        fall = max(0.0, done - HOLD_PART) / (1.0 - HOLD_PART)
        return self.peak_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * fall)))


@dataclass
class Progress:
    """What has been done so far. `elapsed_s` counts this run, `before_s` the runs before it."""

    step: int = 0
    elapsed_s: float = 0.0
    before_s: float = 0.0
    sound_s: float = 0.0
    recent: list[Tensor] = field(default_factory=list)

    def counters(self) -> dict[str, float]:
        """What is saved with the weights."""
        return {
            "step": self.step,
            "sound_s": self.sound_s,
            "total_s": self.before_s + self.elapsed_s,
        }


class Crops:
    """An endless source of short sounds out of pieces, cut on frames."""

    def __init__(self, seeds: list[int]) -> None:
        self.rng = np.random.default_rng(seeds)
        self.player = Player()
        self.combinations = split_combinations().train

    def batch(self, size: int) -> Tensor:
        """Float32 of shape (size, samples)."""
        return torch.from_numpy(np.stack([self._crop() for _ in range(size)]))

    def _crop(self) -> np.ndarray:
        combination = self.combinations[self.rng.integers(len(self.combinations))]
        audio = self.player.perform(write_piece(combination, self.rng, PIECE_FRAMES))
        start = int(self.rng.integers(PIECE_FRAMES - CROP_FRAMES + 1)) * FRAME_SAMPLES
        return audio[start : start + CROP_FRAMES * FRAME_SAMPLES]


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    together.run(_work, plan.processes, plan, continue_from)
    return STATE_FILE


def _work(rank: int, plan: Plan, continue_from: Path | None, meeting_point: str) -> None:
    """What each process does; the first one also reports and saves."""
    together.join(rank, plan.processes, plan.seed, meeting_point)
    model = build_codec().train()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.peak_rate, betas=(0.8, 0.99), weight_decay=0.0, foreach=True
    )
    progress = Progress()
    if continue_from is not None:
        before = together.restore(continue_from, model, [optimiser], {})
        progress = Progress(
            step=before["step"], before_s=before["total_s"], sound_s=before["sound_s"]
        )
    quantiser, objective = Quantiser(model), SpectralLoss()
    source = Crops([plan.seed, progress.step, rank])
    start_s, saved_s, parent = time.monotonic(), 0.0, os.getppid()
    # A worker whose parent was killed must not go on, or it would overwrite a later run's state.
    while progress.elapsed_s < 60.0 * plan.minutes and os.getppid() == parent:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(progress.elapsed_s)
        if not quantiser.started and plan.done(progress.elapsed_s) > UNQUANTISED_PART:
            quantiser.start(_latents(model, source, plan))
        parts = _backward(model, quantiser, objective, source.batch(plan.batch), plan)
        progress.elapsed_s = together.share_gradients(model, time.monotonic() - start_s)
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimiser.step()
        progress.recent.append(parts)
        progress.step += 1
        progress.sound_s += plan.batch * plan.processes * CROP_FRAMES / 50
        if rank == 0:
            if progress.step % REPORT_EVERY_STEPS == 0:
                _report(progress, plan)
            if progress.elapsed_s - saved_s > together.SAVE_EVERY_S:
                together.save(STATE_FILE, model, [optimiser], {}, **progress.counters())
                saved_s = progress.elapsed_s
    if rank == 0 and os.getppid() == parent:
        together.save(STATE_FILE, model, [optimiser], {}, **progress.counters())
    distributed.destroy_process_group()


def _latents(model: EncodecModel, source: Crops, plan: Plan) -> Tensor:
    """What the encoder says about many crops: (batch, hidden_size, frames)."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        batches = [
            model.encoder(source.batch(plan.batch)[:, None]) for _ in range(BATCHES_TO_START)
        ]
    return torch.cat(batches).float()


def _backward(
    model: EncodecModel, quantiser: Quantiser, objective: SpectralLoss, sound: Tensor, plan: Plan
) -> Tensor:
    """The gradient of one batch of this process; returns the loss and the error in dB."""
    model.zero_grad()
    commitment = torch.zeros(())
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        latents = model.encoder(sound[:, None])
    if quantiser.started:
        latents, commitment = quantiser(latents.float())
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
        estimate = model.decoder(latents)[:, 0]
    estimate = estimate.float()
    loss = objective(estimate, sound)
    (loss + COMMITMENT * commitment).backward()
    with torch.no_grad():
        error_db = 10 * torch.log10((estimate - sound).square().mean() / sound.square().mean())
    return torch.stack([loss.detach(), commitment.detach(), error_db])


def _report(progress: Progress, plan: Plan) -> None:
    loss, commitment, error_db = torch.stack(progress.recent).mean(0).tolist()
    print(
        f"step {progress.step}  {progress.elapsed_s:.0f} s  "
        f"rate {plan.rate(progress.elapsed_s):.1e}  loss {loss:.3f}  "
        f"commitment {commitment:.3f}  error {error_db:.1f} dB",
        flush=True,
    )
    progress.recent.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--peak-rate", type=float, default=Plan.peak_rate)
    parser.add_argument("--processes", type=int, default=Plan.processes)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--continue-from", type=Path)
    arguments = parser.parse_args()
    plan = Plan(
        minutes=arguments.minutes,
        peak_rate=arguments.peak_rate,
        processes=arguments.processes,
        seed=arguments.seed,
    )
    print(f"saved {train(plan, arguments.continue_from).name}")


if __name__ == "__main__":
    main()
