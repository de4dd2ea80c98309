"""Trains demucs-mini for a bounded time on a GPU, from songs that are already rendered.

    python -m training.separation.make --count 400
    python -m training.gpu --minutes 9
    python -m training.gpu --minutes 9 --continue-from training/runs/demucs-mini-gpu/state.pt

It starts from the bundled weights. The state is saved every 2.5 minutes and at the end; the model
file beside it has the mean of the weights. With `--device cpu` the same runs slowly without a GPU.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from . import loop, train_demucs
from .dataset import SongMixer
from .mix import RATE_HZ
from .model import MODEL_FILE, SEGMENT_S, save_model
from .separation.make import SONGS

RUN_FOLDER = Path(__file__).parent / "runs" / "demucs-mini-gpu"
STATE_FILE = RUN_FOLDER / "state.pt"
# Threads that mix batches, each ahead of the GPU by one.
MIXERS = 8


@dataclass(frozen=True)
class Plan(train_demucs.Plan):
    """One process and large batches."""

    processes: int = 1
    batch: int = 32
    peak_rate: float = 5e-4
    average_decay: float = 0.999
    songs: str = str(SONGS)
    weights: str = str(MODEL_FILE)
    device: str = "cuda"


class Task(train_demucs.Task):
    """What `loop.train` trains; batches are mixed in threads while the GPU works."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.pool = ThreadPoolExecutor(MIXERS)
        self.ahead: deque[tuple[SongMixer, Future[torch.Tensor]]] = deque()

    def open_data(self, seeds: list[int]) -> None:
        self.ahead.clear()
        for number in range(MIXERS):
            mixer = SongMixer(Path(self.plan.songs), SEGMENT_S * RATE_HZ, [*seeds, number])
            self._mix_with(mixer)

    def next_batch(self) -> torch.Tensor:
        mixer, batch = self.ahead.popleft()
        stems = batch.result()
        self._mix_with(mixer)
        return stems

    def _mix_with(self, mixer: SongMixer) -> None:
        self.ahead.append((mixer, self.pool.submit(mixer.batch, self.plan.batch)))


def main() -> None:
    plan, continue_from = loop.plan_from_command_line(__doc__, Plan(minutes=0.0))
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA GPU here. Use --device cpu to train slowly.")
    state = loop.train(Task, plan, STATE_FILE, continue_from)
    weights = torch.load(state, weights_only=True, map_location="cpu")["average"]
    model = RUN_FOLDER / MODEL_FILE.name
    save_model(weights, model)
    print(f"saved {state} and {model}; measure it with training.evaluate_demucs --model")


if __name__ == "__main__":
    main()
