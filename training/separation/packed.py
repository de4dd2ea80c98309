"""Songs as small files: four stems in Opus, which machines without much space or network can take.

A file is an uncompressed ZIP of `drums.opus` and so on. The coder is given 44.1 kHz samples as if
they were 48 kHz, its only rate, so that nothing has to be resampled; what it leaves out begins at
18 kHz.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from studio.audio import ffmpeg_path
from studio.audio.replacing import replacing
from training.render import DATA, SOURCES

SONGS = DATA / "separation" / "train"
"""The folder of the training songs."""

OPUS_RATE_HZ = 48_000
CHANNELS = (2, 1, 2, 1)
"""Of each stem, in the order of SOURCES. Basses and voices are made wide again by training."""
RATES_BPS = (48_000, 24_000, 56_000, 32_000)
CODER_TIMEOUT_S = 60
SUFFIX = ".zip"


def songs_of(folder: Path) -> list[Path]:
    """The songs in a folder and its folders, in the order of their names."""
    return sorted(folder.rglob(f"*{SUFFIX}"))


def write(stems: npt.NDArray[np.int16], path: Path) -> None:
    """Write int16 stems of shape (4, 2, samples)."""
    with replacing(path) as new, zipfile.ZipFile(new, "w") as file:
        for name, stem, channels, rate_bps in zip(SOURCES, stems, CHANNELS, RATES_BPS, strict=True):
            sound = stem if channels == 2 else stem.mean(0, keepdims=True).astype(np.int16)
            file.writestr(f"{name}.opus", _encode(sound, rate_bps))


def read(path: Path) -> npt.NDArray[np.int16]:
    """The channels of all stems, drums first: int16 of shape (sum of CHANNELS, samples)."""
    with zipfile.ZipFile(path) as file:
        stems = [
            soundfile.read(io.BytesIO(file.read(f"{name}.opus")), dtype="int16", always_2d=True)[0]
            for name in SOURCES
        ]
    shortest = min(len(stem) for stem in stems)
    return np.concatenate([stem[:shortest].T for stem in stems])


def _encode(sound: npt.NDArray[np.int16], rate_bps: int) -> bytes:
    channels = sound.shape[0]
    command = [
        ffmpeg_path(), "-nostdin", "-v", "error",
        "-f", "s16le", "-ar", str(OPUS_RATE_HZ), "-ac", str(channels), "-i", "-",
        "-c:a", "libopus", "-b:a", str(rate_bps), "-vbr", "on", "-f", "opus", "-",
    ]  # fmt: skip
    samples = np.ascontiguousarray(sound.T, "<i2").tobytes()
    return subprocess.run(
        command, input=samples, check=True, capture_output=True, timeout=CODER_TIMEOUT_S
    ).stdout
