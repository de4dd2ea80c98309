"""Whisper on a CUDA device with little memory, shown by a real model on the CPU that lacks it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from studio.errors import ModelUnusable
from studio.inference import devices
from studio.inference.device_use import device_use
from studio.inference.engine_settings import EngineSettings
from studio.transcription import load, openai_engine
from studio.transcription.catalogue import WhisperCatalogue
from studio.transcription.cuda import CudaModel
from studio.transcription.engine import DecodeOptions
from studio.transcription.openai_engine import OpenaiWhisper
from studio.transcription.openai_weights import read_whisper
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
    device = LittleMemory(model, most, OUT_OF_MEMORY)
    short = CudaModel(device, lambda: model)
    before = short.max_windows(2)
    with device_use() as use:
        assert decoded(short) == exact
        assert short.max_windows(2) == (before if most == 8 else max(1, most))
    notes = {0: "out of memory", 1: "1 at a time", 2: "2 at a time", 8: ""}
    assert notes[most] in (use.note or "")
    assert (use.note is None) == (most == 8)
    # Another job, when there is memory again.
    device._most = WINDOWS
    with device_use() as use:
        assert short.max_windows(2) == before
        assert decoded(short) == exact
    assert use.note is None


def test_other_failures_are_those_of_the_work(model: Any) -> None:
    broken = CudaModel(LittleMemory(model, 0, "the prompt is too long"), lambda: model)
    with device_use() as use, pytest.raises(RuntimeError, match="too long"):
        decoded(broken)
    assert use.note is None


# openai-whisper leaves the file of its tokens to the garbage collector, and sees that the device is
# the CPU.
WARNS = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:FP16 is not supported on CPU"
)
SPEECH = np.random.default_rng(1).normal(0, 0.1, 32_000).astype(np.float32)
GREEDY = DecodeOptions("en", temperatures=(0.0,), max_tokens=8)


def on_a_device(monkeypatch: pytest.MonkeyPatch, loads: bool, message: str) -> list[str]:
    """A CUDA device on which openai-whisper cannot be loaded, or used; the devices that it asks.

    The model is on the CPU all the time.
    """
    asked: list[str] = []

    def read(folder: Path, device: str) -> Any:
        asked.append(device)
        model = read_whisper(folder)
        if device != "cpu":
            if not loads:
                raise RuntimeError(message)
            for name in ("encoder", "decoder"):
                getattr(model, name).register_forward_pre_hook(fail)
        return model

    def fail(*_: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(openai_engine, "choose_device", lambda _: devices.Device("cuda"))
    monkeypatch.setattr(openai_engine, "read_whisper", read)
    return asked


@WARNS
@pytest.mark.parametrize("call", ["load", "transcribe", "align"])
def test_openai_whisper_goes_on_where_its_device_fails(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    calls: dict[str, Callable[[OpenaiWhisper], object]] = {
        "load": lambda engine: engine.precision,
        "transcribe": lambda engine: list(engine.transcribe([SPEECH], GREEDY)),
        "align": lambda engine: engine.align(SPEECH, [" one", " two"], "en"),
    }
    exact = OpenaiWhisper(FOLDER, "mini", "cpu")
    asked = on_a_device(monkeypatch, call != "load", OUT_OF_MEMORY)
    engine = OpenaiWhisper(FOLDER, "mini")
    assert (engine.note is None) == (call != "load")
    assert calls[call](engine) == calls[call](exact)
    notes = {"load": f"The CUDA device was not used: {OUT_OF_MEMORY}."}
    failed = f"The CUDA device failed ({OUT_OF_MEMORY}); the CPU was used instead."
    assert engine.note == notes.get(call, failed)
    assert engine.precision == "float32"
    assert asked == ["cuda", "cpu"]


@WARNS
def test_other_failures_of_openai_whisper_are_those_of_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_a_device(monkeypatch, True, "the prompt is too long")
    engine = OpenaiWhisper(FOLDER, "mini")
    with pytest.raises(RuntimeError, match="too long"):
        list(engine.transcribe([SPEECH], GREEDY))
    assert engine.note is None


@WARNS
def test_a_device_that_fails_is_not_blamed_on_the_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalogue = WhisperCatalogue(FOLDER.parent, tmp_path, tmp_path, "openai-whisper")
    settings = EngineSettings("auto", "auto", 0, tmp_path)
    on_a_device(monkeypatch, False, "CUDA error: no kernel image is available")
    engine = load.load(catalogue, "mini", settings)
    assert "no kernel image" in (engine.note or "")
    monkeypatch.setattr(openai_engine, "read_whisper", mismatch)
    with pytest.raises(ModelUnusable, match=r"weights of 'mini' cannot be loaded.*Replace"):
        load.load(catalogue, "mini", settings)


def mismatch(*_: object) -> None:
    raise RuntimeError("size mismatch for encoder.conv1.weight")
