"""The two scores that the demo, the tests and the benchmarks show."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np


def sdr_db(true: Any, estimate: Any) -> float:
    """Signal-to-distortion ratio in dB over all channels and samples of two equal arrays."""
    error = float(np.sum((true - estimate) ** 2, dtype=np.float64))
    return float(10 * np.log10(np.sum(true**2, dtype=np.float64) / max(error, 1e-20)))


def words_of(text: str) -> list[str]:
    """The words of a text, without capitals and punctuation."""
    return re.sub(r"[^\w\s']", " ", text.lower()).split()


def word_errors(true: str, said: str) -> tuple[int, int]:
    """Words to insert, remove or replace to get from one text to the other, and the true count."""
    wanted = words_of(true)
    return edits(wanted, words_of(said)), len(wanted)


def edits(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Words to insert, remove or replace to get from one list to the other."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(wanted, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(found, start=1):
            cost = min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
            diagonal, row[place] = row[place], cost
    return row[-1]
