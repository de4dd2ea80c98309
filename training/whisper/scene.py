"""A scene: a window of sound and the sentences in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass
class Scene:
    """A window of sound. `sentences` hold rows (word id, start_s, end_s).

    A sentence that goes on beyond the window is `cut`, and not in `sentences`. `end_s` is where the
    recording ends, if that is before the end of the window.
    """

    audio: Floats
    sentences: list[Floats] = field(default_factory=list)
    phonemes: Floats = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    cut: Floats | None = None
    end_s: float | None = None
    phonemes_known: bool = True
