"""Writes the bundled sample song: a stretch of one held-out song, mixture and stems as FLAC.

Run it as `python -m training.sample`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from .mix import RATE_HZ
from .render import SOURCES, render_song
from .songs import make_song

SONG_SEED = 2
START_S = 0.0
DURATION_S = 18.0
FADE_S = 0.5
GAIN = 0.65
FOLDER = Path(__file__).parents[1] / "samples" / "song"
MAX_BYTES = 6_000_000


def write_sample(folder: Path = FOLDER) -> int:
    """Write the five files, 16 bit stereo at RATE_HZ; returns their size in bytes.

    The mixture is the exact sum of the stems, sample by sample.
    """
    first, count = round(START_S * RATE_HZ), round(DURATION_S * RATE_HZ)
    stems = render_song(make_song(SONG_SEED, held_out=True))[:, :, first : first + count]
    ramp = np.minimum(1.0, np.arange(count) / (0.01 * RATE_HZ))
    ramp *= np.minimum(1.0, np.arange(count)[::-1] / (FADE_S * RATE_HZ))
    stems = np.round(stems * (GAIN * ramp)).astype(np.int16)
    mixture = stems.astype(np.int32).sum(0)
    if np.abs(mixture).max() > 32767:
        raise ValueError("the mixture clips")
    folder.mkdir(parents=True, exist_ok=True)
    for name, audio in zip(("mixture", *SOURCES), (mixture, *stems), strict=True):
        path = folder / f"{name}.flac"
        soundfile.write(path, audio.T.astype(np.int16), RATE_HZ, "PCM_16", compression_level=1.0)
    size_bytes = sum(path.stat().st_size for path in folder.glob("*.flac"))
    if size_bytes > MAX_BYTES:
        raise ValueError(f"the sample song takes {size_bytes} bytes, over {MAX_BYTES}")
    return size_bytes


if __name__ == "__main__":
    print(f"sample song: {write_sample()} bytes")
