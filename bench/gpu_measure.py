"""Measurements for the workers of `bench.gpu`."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Result = dict[str, Any]
# Songs, or batches of windows, at the same time.
TOGETHER = 4


def at_once_s(calls: Sequence[Callable[[], object]]) -> float:
    began_s = time.monotonic()
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()
    return time.monotonic() - began_s


def peak_bytes() -> int:
    """The most device memory that PyTorch held."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


def free_bytes() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def relative(found: Any, exact: Any) -> float:
    """How far an array is from the exact one, as a share of it."""
    wide = exact.astype(np.float64)
    return float(np.linalg.norm(found - wide) / np.linalg.norm(wide))
