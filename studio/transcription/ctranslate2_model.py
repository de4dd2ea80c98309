"""Whisper on CTranslate2, with the interface that batches of windows need."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from studio.transcription.batching import WindowModel
from studio.transcription.openvino.weights import NotReadable

log = logging.getLogger(__name__)

# More hypotheses at a time take more memory and, on a CPU, are no faster.
MAX_ROWS = {"cpu": 24, "cuda": 40}


class CTranslate2Model:
    """A `ctranslate2.models.Whisper` that also takes and gives NumPy arrays.

    CTranslate2 seeds its random numbers once for each of its threads, so that the same request
    would draw another text each time. `make_drawer` makes a model on the same weights that draws
    from a seed; it is called when a text is drawn for the first time. If it fails, CTranslate2
    draws.
    """

    def __init__(self, model: Any, make_drawer: Callable[[], WindowModel] | None) -> None:
        self._model = model
        self._make_drawer = make_drawer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def encodes_together(self) -> bool:
        return bool(self._model.device == "cuda")

    def max_windows(self, beam_size: int) -> int:
        """How many windows are decoded at the same time."""
        return max(1, MAX_ROWS[self._model.device] // beam_size)

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        """As CTranslate2's, for features that may be an array; with `to_cpu`, states as one."""
        states = self._model.encode(_view(features), to_cpu=to_cpu)
        return np.array(states) if to_cpu else states

    def generate(
        self, features: Any, prompts: Sequence[Sequence[int]], **settings: Any
    ) -> Sequence[Any]:
        """As CTranslate2's, for states that may be an array."""
        is_drawn = settings.get("sampling_topk", 1) != 1
        if is_drawn and self._drawer is not None:
            drawn: Sequence[Any] = self._drawer.generate(np.array(features), prompts, **settings)
            return drawn
        results: Sequence[Any] = self._model.generate(_view(features), prompts, **settings)
        return results

    def detect_language(self, features: Any) -> Any:
        """As CTranslate2's, for states that may be an array."""
        return self._model.detect_language(_view(features))

    def align(self, features: Any, *arguments: Any, **settings: Any) -> Any:
        """As CTranslate2's, for states that may be an array."""
        return self._model.align(_view(features), *arguments, **settings)

    @cached_property
    def _drawer(self) -> WindowModel | None:
        if self._make_drawer is None:
            return None
        try:
            return self._make_drawer()
        except (NotReadable, ImportError, LookupError, RuntimeError, ValueError) as error:
            log.warning("drawn texts will differ from run to run: %s", error)
            return None


def _view(features: Any) -> Any:
    """Features or states that may be an array, as CTranslate2 takes them."""
    from ctranslate2 import StorageView

    if isinstance(features, np.ndarray):
        return StorageView.from_array(np.ascontiguousarray(features))
    return features
