"""Workers of `bench.gpu` for transcription."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import material
from bench.gpu_measure import TOGETHER, Result, at_once_s, free_bytes, relative

# faster-whisper adds those that begin a text, and CTranslate2 halves the sum.
START_TOKENS = 3
WINDOWS, WINDOW_S = 8, 29
# This many windows are also decoded one by one.
SINGLE = 4


def transcription_prepare(home: Path, size: str) -> Result:
    material.random_whisper_ctranslate2(home / size, size)
    return {}


def transcription_theirs(home: Path, size: str, tokens: int, together: bool) -> Result:
    """faster-whisper as a library."""
    before = free_bytes()
    began_s = time.monotonic()
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(home / size), device="cuda", compute_type="float16")
    load_s = time.monotonic() - began_s
    windows = noise_windows()
    settings: dict[str, Any] = {
        "language": "en", "beam_size": 5, "temperature": 0.0,
        "max_new_tokens": 2 * tokens - START_TOKENS,
        "condition_on_previous_text": False, "without_timestamps": False, "vad_filter": False,
    }  # fmt: skip

    def single() -> None:
        for window in windows[:SINGLE]:
            list(model.transcribe(window, **settings)[0])

    def batch() -> None:
        length = WINDOW_S * 16_000
        clips = [
            {"start": n * length / 16_000, "end": (n + 1) * length / 16_000} for n in range(WINDOWS)
        ]
        found, _ = BatchedInferencePipeline(model).transcribe(
            np.concatenate(windows), batch_size=WINDOWS, clip_timestamps=clips, **settings
        )
        list(found)

    return {"precision": "float16", "load_s": load_s, **_timed(single, batch, together, before)}


def transcription_ours(home: Path, size: str, tokens: int, together: bool) -> Result:
    from studio.transcription.engine import DecodeOptions
    from studio.transcription.faster_engine import FasterWhisper

    before = free_bytes()
    began_s = time.monotonic()
    engine = FasterWhisper(home / size, 0)
    load_s = time.monotonic() - began_s
    windows = noise_windows()
    options = DecodeOptions(
        "en", word_timestamps=False, beam_size=5, temperatures=(0.0,), max_tokens=tokens
    )

    def single() -> None:
        for window in windows[:SINGLE]:
            list(engine.transcribe([window], options))

    def batch() -> None:
        list(engine.transcribe(windows, options))

    cost = _timed(single, batch, together, before)
    return {"precision": engine.precision, "note": engine.note, "load_s": load_s, **cost}


def transcription_parity(home: Path, size: str) -> Result:
    """The encoder's output on the device in float16 against the CPU's in float32."""
    import ctranslate2

    from studio.transcription.cuda import preload_cublas

    preload_cublas()
    mels = material.WHISPER_SIZES[size].mels
    heard = np.random.default_rng(0).normal(size=(1, mels, 3000)).astype(np.float32)
    states = []
    for device, number in (("cpu", "float32"), ("cuda", "float16")):
        model = ctranslate2.models.Whisper(str(home / size), device=device, compute_type=number)
        found = model.encode(ctranslate2.StorageView.from_array(heard), to_cpu=True)
        states.append(np.array(found.to(ctranslate2.DataType.float32)))
    return {"relative": relative(states[1], states[0])}


def noise_windows() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, WINDOW_S * 16_000).astype(np.float32) for _ in range(WINDOWS)]


def _timed(
    single: Callable[[], None], batch: Callable[[], None], together: bool, free_before: int
) -> Result:
    """What both take, four of the second at once, and the device memory that was used."""
    found: Result = {}
    batch()
    for name, call in (("single_s", single), ("batch_s", batch)):
        began_s = time.monotonic()
        call()
        found[name] = time.monotonic() - began_s
    if together:
        found["together_s"] = at_once_s([batch] * TOGETHER)
    return {**found, "device_bytes": free_before - free_bytes()}
