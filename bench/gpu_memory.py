"""Workers of `bench.gpu` for a card that is nearly full: a tensor takes all but so many bytes."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.gpu_generation import music
from bench.gpu_measure import Result, relative
from bench.gpu_separation import bag_of, separated
from bench.gpu_transcription import noise_windows
from studio.generation.codec_run import CodecRun
from studio.inference.device_use import device_use

MIB = 1 << 20
Made = tuple[Any, str | None]
"""What was made, and the note of the job."""


def separation_full(home: Path, left_mib: list[int]) -> Result:
    """A separation against the same one with all of the card's memory."""
    from studio.audio import read_blocks

    bag = bag_of(home, "auto", "auto")
    song = home / "short.wav"

    def stems() -> Made:
        with TemporaryDirectory(dir=home) as work:
            note = separated(bag, song, Path(work)).note
            found = [
                np.concatenate(list(read_blocks(Path(work) / f"{stem}.wav")), axis=1)
                for stem in bag.sources
            ]
        return np.stack(found), note

    return _cases(stems, left_mib)


def generation_full(home: Path, left_mib: list[int]) -> Result:
    """The sound of the codec for the same codes."""
    model = music(home, "auto")
    spec = model.spec
    codes = np.random.default_rng(1).integers(0, spec.vocabulary, (1, spec.codebooks, 500))

    run = CodecRun(model.codec)

    def sound() -> Made:
        with device_use() as use:
            hidden, _ = run.recur(run.embed(codes), None)
            return run.synthesise(hidden), use.note

    return _cases(sound, left_mib)


def transcription_full(home: Path, left_mib: list[int], size: str) -> Result:
    """Eight windows at a time. Texts of random weights are not compared."""
    from studio.transcription.engine import DecodeOptions
    from studio.transcription.faster_engine import FasterWhisper

    engine = FasterWhisper(home / size, 0)
    windows = noise_windows()
    options = DecodeOptions("en", word_timestamps=False, temperatures=(0.0,), max_tokens=20)

    def transcribed() -> Made:
        with device_use() as use:
            assert len(list(engine.transcribe(windows, options))) == len(windows)
            return None, use.note

    return _cases(transcribed, left_mib)


def _cases(make: Callable[[], Made], left_mib: list[int]) -> Result:
    """What `make` gives on a card that is nearly full against what it gives on a free one."""
    exact, _ = make()
    cases = []
    for left in left_mib:
        with _Filled(left):
            began_s = time.monotonic()
            found, note = make()
            full_s = time.monotonic() - began_s
        case: Result = {"left_mib": left, "full_s": full_s, "note": note}
        if exact is not None:
            case["relative"] = relative(found, exact)
        cases.append(case)
    return {"cases": cases}


class _Filled:
    """Inside of the block no more than so much of the card's memory is free."""

    def __init__(self, left_mib: int) -> None:
        self._free_bytes = left_mib * MIB
        self._held: Any = None

    def __enter__(self) -> None:
        import torch

        from studio.inference.devices import release_memory

        torch.zeros(1, device="cuda")
        release_memory()
        free, _ = torch.cuda.mem_get_info()
        size = max(0, free - self._free_bytes)
        self._held = torch.empty(size, dtype=torch.uint8, device="cuda")

    def __exit__(self, *_: object) -> None:
        self._held = None
