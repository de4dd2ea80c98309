"""Trains decoder and text encoder for a given time on the clock; the codec stays as it is.

    python -m training.musicgen.train --minutes 20
    python -m training.musicgen.train --minutes 10 --start 0.5 --continue-from STATE

First the beginnings of pieces, later longer stretches too, and some that start anywhere, as when
generation continues from given sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import MusicgenForConditionalGeneration

from .. import loop
from ..loop import Progress
from .codec import CODEBOOKS
from .codes import load_codes
from .network import build_model, delayed
from .prompts import say_for_training
from .tokenizer import build_tokenizer

STATE_FILE = Path(__file__).parents[1] / "runs" / "musicgen-mini" / "state.pt"
WITHOUT_PROMPT = 0.1


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
class Plan(loop.Plan):
    """How to train musicgen-mini."""

    peak_rate: float = 2e-3
    average_decay: float = 0.99


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
        window: npt.NDArray[Any] = codes[:, start : start + stage.frames]
        return window


class Task:
    """What `loop.train` trains."""

    levels = tuple(f"codebook {book}" for book in range(CODEBOOKS))

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.model = build_model().train()
        del self.model.audio_encoder
        self.optimisers = make_optimisers(self.model, plan)

    def open_data(self, seeds: list[int]) -> None:
        self.source = Examples(seeds)

    def backward(self, progress: Progress) -> tuple[Tensor, int]:
        part = self.plan.part(progress.elapsed_s)
        stage = next(stage for stage in STAGES if part <= stage.until)
        batch = self.source.batch(stage)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            logits = self.model(
                input_ids=batch.words,
                attention_mask=batch.mask,
                decoder_input_ids=batch.inputs.flatten(0, 1),
                use_cache=False,
            ).logits
        logits = logits.float().unflatten(0, (-1, CODEBOOKS))
        losses = torch.stack([
            nn.functional.cross_entropy(
                logits[:, book].flatten(0, 1), batch.targets[:, book].flatten()
            )
            for book in range(CODEBOOKS)
        ])  # fmt: skip
        losses.mean().backward()
        return losses.detach(), stage.batch


def make_optimisers(
    model: MusicgenForConditionalGeneration, plan: Plan
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    layers = [*model.text_encoder.encoder.block, *model.decoder.model.decoder.layers]
    matrices = [
        module.weight
        for layer in layers
        for module in layer.modules()
        if isinstance(module, nn.Linear)
    ]
    return loop.muon_and_adamw(model, matrices, plan.peak_rate)


def train(plan: Plan, continue_from: Path | None = None) -> Path:
    """Train until the plan's minutes are over; returns the state file that was written last."""
    return loop.train(Task, plan, STATE_FILE, continue_from)


def main() -> None:
    plan, continue_from = loop.plan_from_command_line(__doc__, Plan(minutes=0.0))
    print(f"saved {train(plan, continue_from).name}")


if __name__ == "__main__":
    main()
