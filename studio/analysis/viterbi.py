"""Viterbi's algorithm for states that mostly follow one another, and rarely jump."""

import numpy as np
import numpy.typing as npt

from studio.analysis.frames import Floats


def best_path(
    scores: Floats, before: npt.NDArray[np.integer], costs: Floats
) -> tuple[float, list[int]]:
    """The score of the best path, and its states.

    `scores` are (steps, states). A state follows `before` (states,) without a cost, and any other
    state at the cost of its step, `costs` (steps,).
    """
    count, states = scores.shape
    best = scores[0]
    back = np.zeros((count, states), np.int8)
    for step in range(1, count):
        regular = best[before]
        other = int(best.argmax())
        jumps = best[other] - costs[step] > regular
        back[step] = np.where(jumps, other, before)
        best = np.where(jumps, best[other] - costs[step], regular) + scores[step]
    path = [int(best.argmax())]
    for step in range(count - 1, 0, -1):
        path.append(int(back[step, path[-1]]))
    return float(best.max()), path[::-1]
