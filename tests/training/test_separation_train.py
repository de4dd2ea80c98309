"""`training.separation.train`, on the CPU: it learns, stops in time and can be continued."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from demucs.hf import load_safetensors_model

from training import loop
from training.loop import Progress
from training.mix import RATE_HZ
from training.separation import packed, train
from training.separation.network import MODEL_FILE


@pytest.fixture
def plan(tmp_path: Path) -> train.Plan:
    """A plan for two songs of noise bursts, with batches of one."""
    rng = np.random.default_rng(0)
    for seed in range(2):
        bursts = rng.random((4, 1, 4)) < 0.7
        noise = rng.normal(0.0, 1500.0, (4, 2, 4 * RATE_HZ))
        stems = (noise * bursts.repeat(RATE_HZ, 2)).astype(np.int16)
        packed.write(stems, tmp_path / f"{seed}{packed.SUFFIX}")
    return train.Plan(minutes=0.05, batch=1, device="cpu", songs=str(tmp_path), bfloat16=False)


@pytest.mark.slow
def test_the_loss_of_a_fixed_batch_falls(plan: train.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    task = train.Task(plan)
    task.open_data([0])
    batch = task.next_batch()
    monkeypatch.setattr(task, "next_batch", lambda: batch)

    def loss() -> float:
        with torch.no_grad():
            return float(train.objective(batch, task.model(batch.sum(1))))

    before = loss()
    for _ in range(12):
        task.model.zero_grad()
        task.backward(Progress())
        task.optimisers[0].step()
    assert loss() < 0.95 * before


@pytest.mark.slow
def test_a_run_ends_in_time_and_can_be_continued(plan: train.Plan, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    loop.train(train.Task, plan, state, None)
    first = torch.load(state, weights_only=True)
    loop.train(train.Task, replace(plan, seed=1), state, state)
    second = torch.load(state, weights_only=True)
    assert second["step"] > first["step"] >= 1
    assert second["total_s"] > first["total_s"]
    assert all(torch.isfinite(tensor).all() for tensor in second["average"].values())


def test_a_run_can_begin_with_a_model_file(plan: train.Plan) -> None:
    task = train.Task(replace(plan, weights=str(MODEL_FILE)))
    expected = load_safetensors_model(MODEL_FILE).state_dict()
    for name, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, expected[name].float()), name
