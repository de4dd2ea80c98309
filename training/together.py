"""Several processes that train together: averaged gradients and weights, saved states."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed, multiprocessing

from studio.audio.replacing import replacing

SAVE_EVERY_S = 150.0

Weights = dict[str, torch.Tensor]
T = TypeVar("T")


def run(work: Callable[..., None], processes: int, *arguments: Any) -> None:
    """Call `work(rank, *arguments, meeting_point)` in each process; `join` is its first line."""
    with tempfile.TemporaryDirectory() as folder:
        everything = (*arguments, f"file://{folder}/meeting-point")
        multiprocessing.spawn(work, everything, nprocs=processes)


def join(rank: int, processes: int, seed: int, meeting_point: str) -> None:
    """Prepare this process and wait for the others."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    if processes > 1:
        distributed.init_process_group(
            "gloo", init_method=meeting_point, rank=rank, world_size=processes
        )


def leave() -> None:
    """End what `join` began."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share(items: Sequence[T]) -> Sequence[T]:
    """The items that this process reads; all of them if it trains alone."""
    if not distributed.is_initialized():
        return items
    return items[distributed.get_rank() :: distributed.get_world_size()]


def share_gradients(model: torch.nn.Module, elapsed_s: float) -> float:
    """Average the gradients of all processes.

    Returns the time that has passed, averaged too: the processes must use the same rate and stop
    together.
    """
    if not distributed.is_initialized():
        return elapsed_s
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    shared = torch.cat([*(g.flatten() for g in gradients), torch.tensor([elapsed_s])])
    distributed.all_reduce(shared)
    shared /= distributed.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    parts = [
        part.view_as(gradient)
        for part, gradient in zip(shared[:-1].split(sizes), gradients, strict=True)
    ]
    torch._foreach_copy_(gradients, parts)
    return float(shared[-1])


def update_average(average: Weights, model: torch.nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's; faster in the first steps."""
    keep = min(decay, (1 + step) / (10 + step))
    weights = model.state_dict()
    with torch.no_grad():
        torch._foreach_lerp_([average[name] for name in weights], list(weights.values()), 1 - keep)


def restore(
    path: Path,
    model: torch.nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    average: Weights,
) -> dict[str, Any]:
    """Continue from a saved state, on any device; returns the counters that were saved with it."""
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(state.pop("model"))
    for optimiser, saved in zip(optimisers, state.pop("optimisers"), strict=True):
        optimiser.load_state_dict(saved)
    for name, tensor in state.pop("average").items():
        average[name].copy_(tensor)
    return state


def save(
    path: Path,
    model: torch.nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    average: Weights,
    **counters: float,
) -> None:
    """Write a state that `restore` reads; it appears whole, by rename."""
    state = {
        "model": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "average": average,
        **counters,
    }
    with replacing(path) as new:
        torch.save(state, new)


def write_facts(path: Path, state: dict[str, Any], examples: str, **more: object) -> None:
    """Write `training.json`, which a model card reads, from the counters of a saved state.

    `examples` is the name of what was counted as an example.
    """
    facts = {
        "steps": state["step"],
        examples: state["examples"],
        "minutes": round(state["total_s"] / 60, 1),
        **more,
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")
