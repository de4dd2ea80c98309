"""Whisper on a CUDA device with little memory, shown by a real model on the CPU that lacks it."""

from collections.abc import Sequence
from typing import Any

import ctranslate2
import numpy as np
import pytest

from studio.transcription.cuda import CudaModel
from tests.support.server import ROOT

FOLDER = ROOT / "pretrained" / "whisper-mini" / "ctranslate2"
WINDOWS = 4
START = 50_258
OUT_OF_MEMORY = "CUDA failed with error out of memory"


class LittleMemory:
    """The model, on a device with memory for `most` windows."""

    device = "cuda"

    def __init__(self, model: Any, most: int, message: str) -> None:
        self._model, self._most, self._message = model, most, message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        self._check(features.shape[0])
        return self._model.encode(features, to_cpu=to_cpu)

    def generate(self, features: Any, prompts: Sequence[Any], **settings: Any) -> Any:
        self._check(len(prompts))
        return self._model.generate(features, prompts, **settings)

    def _check(self, windows: int) -> None:
        if windows > self._most:
            raise RuntimeError(self._message)


@pytest.fixture(scope="module")
def model() -> Any:
    return ctranslate2.models.Whisper(str(FOLDER), device="cpu", compute_type="float32")


def decoded(model: CudaModel) -> list[list[int]]:
    assert model.encodes_together
    heard = np.random.default_rng(0).normal(size=(WINDOWS, model.n_mels, 3000))
    states = model.encode(heard.astype(np.float32))
    found = model.generate(states, [[START]] * WINDOWS, beam_size=2, max_length=12)
    return [result.sequences_ids[0] for result in found]


@pytest.mark.parametrize("most", [0, 1, 2, 8])
def test_too_little_memory_means_fewer_windows_and_then_the_cpu(model: Any, most: int) -> None:
    exact = decoded(CudaModel(LittleMemory(model, WINDOWS, ""), lambda: model))
    short = CudaModel(LittleMemory(model, most, OUT_OF_MEMORY), lambda: model)
    before = short.max_windows(2)
    assert decoded(short) == exact
    assert short.max_windows(2) == (before if most == 8 else max(1, most))
    notes = {0: "out of memory", 1: "1 at a time", 2: "2 at a time", 8: ""}
    assert notes[most] in (short.note or "")
    assert (short.note is None) == (most == 8)


def test_other_failures_are_those_of_the_work(model: Any) -> None:
    broken = CudaModel(LittleMemory(model, 0, "the prompt is too long"), lambda: model)
    with pytest.raises(RuntimeError, match="too long"):
        decoded(broken)
    assert broken.note is None
