"""What `bench.gpu` runs in processes of its own: each function measures one thing.

A worker is given the folder of the benchmark and options; it returns what it found.
"""

import ctypes
import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path

from bench import gpu_generation, gpu_memory, gpu_separation, gpu_transcription
from bench.gpu_measure import Result

LIBRARIES = ("libcublas.so.12", "libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13")
PACKAGES = ("torch", "demucs", "transformers", "faster-whisper", "ctranslate2")


def environment(_home: Path) -> Result:
    """The card, the versions, and which libraries of CUDA load by their names."""
    import torch

    from bench import measure

    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    card = "no CUDA device"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        card = f"{torch.cuda.get_device_name(0)} with {memory:.0f} GiB, CUDA {torch.version.cuda}"
    found = []
    for name in LIBRARIES:
        try:
            ctypes.CDLL(name)
            found.append(f"`{name}` loads")
        except OSError:
            found.append(f"`{name}` does not load")
    processor = f"{measure.processor()}, {os.cpu_count()} cores"
    return {
        "card": card,
        "machine": f"{processor}, {', '.join(versions)}",
        "libraries": "; ".join(found),
    }


WORKERS: dict[str, Callable[..., Result]] = {
    call.__name__: call
    for call in (
        environment,
        gpu_separation.separation_prepare,
        gpu_separation.separation_theirs,
        gpu_separation.separation_ours,
        gpu_separation.separation_parity,
        gpu_generation.generation_prepare,
        gpu_generation.generation_theirs,
        gpu_generation.generation_ours,
        gpu_generation.generation_parity,
        gpu_transcription.transcription_prepare,
        gpu_transcription.transcription_theirs,
        gpu_transcription.transcription_ours,
        gpu_transcription.transcription_parity,
        gpu_memory.separation_full,
        gpu_memory.generation_full,
        gpu_memory.transcription_full,
    )
}
