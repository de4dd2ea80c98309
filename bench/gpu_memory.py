"""Workers of `bench.gpu` for a card that is nearly full: a tensor takes all but so many bytes."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import gpu_workers

Result = dict[str, Any]
MB = 1 << 20


def separation_full(home: Path, free_mb: int) -> Result:
    """A separation against the same one with all of the card's memory."""
    from studio.audio import read_blocks

    bag = gpu_workers._bag(home, "auto", "auto")
    song = home / "short.wav"

    def stems() -> Any:
        with TemporaryDirectory(dir=home) as work:
            gpu_workers._separated_s(bag, song, Path(work))
            found = [
                np.concatenate(list(read_blocks(Path(work) / f"{stem}.wav")), axis=1)
                for stem in bag.sources
            ]
        return np.stack(found)

    found = _compared(stems, free_mb)
    return {**found, "batch": bag.members[0].network.batch, "note": bag.remark}


def generation_full(home: Path, free_mb: int) -> Result:
    """Music, and the sound of the codec for the same codes."""
    model = gpu_workers._music(home, "auto")
    kind = model.kind
    codes = np.random.default_rng(1).integers(0, kind.vocabulary, (1, kind.codebooks, 500))
    gpu_workers._played_s(model, 5.0)

    def sound() -> Any:
        hidden, _ = model.codec.recur(model.codec.embed(codes), None)
        return model.codec.synthesise(hidden)

    found = _compared(sound, free_mb)
    with _Filled(free_mb):
        found["job_s"] = gpu_workers._played_s(model, 5.0)
    notes = [note for note in (model.decoder.note, model.codec.note) if note]
    return {**found, "note": " ".join(notes) or None}


def transcription_full(home: Path, size: str, free_mb: int) -> Result:
    """Eight windows at a time; what is compared is the number of segments."""
    from studio.transcription.engine import DecodeOptions
    from studio.transcription.faster_engine import FasterWhisper

    engine = FasterWhisper(home / size, 0)
    windows = gpu_workers._windows()
    options = DecodeOptions("en", word_timestamps=False, temperatures=(0.0,), most_tokens=20)
    with _Filled(free_mb):
        began_s = time.monotonic()
        found = list(engine.transcribe(windows, options))
        full_s = time.monotonic() - began_s
    return {"full_s": full_s, "windows": len(found), "note": engine.note}


def _compared(make: Callable[[], Any], free_mb: int) -> Result:
    """What `make` gives on a card that is nearly full against what it gives on a free one."""
    exact = make()
    with _Filled(free_mb):
        began_s = time.monotonic()
        found = make()
        full_s = time.monotonic() - began_s
    return {"full_s": full_s, "relative": gpu_workers._relative(found, exact)}


class _Filled:
    """Inside of the block no more than `free_mb` of the card's memory are free."""

    def __init__(self, free_mb: int) -> None:
        self._free_bytes = free_mb * MB
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


WORKERS: dict[str, Callable[..., Result]] = {
    call.__name__: call for call in (separation_full, generation_full, transcription_full)
}
