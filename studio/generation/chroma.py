"""Extracts the melody of a recording for the melody variants: one pitch class per frame.

The same numbers as `MusicgenMelodyFeatureExtractor`, which needs torchaudio, from PyTorch alone.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from studio.audio import Sound

RATE_HZ = 32_000
WINDOW = 16_384
HOP = 4096
CLASSES = 12

Samples = npt.NDArray[np.float32]
"""float32 (samples,)."""


def melody(blocks: Iterable[Sound]) -> Sound:
    """float32 (12, frames), one-hot in each frame, from mono audio at RATE_HZ."""
    import torch
    from transformers.audio_utils import chroma_filter_bank

    filters = torch.from_numpy(chroma_filter_bank(WINDOW, CLASSES, RATE_HZ, tuning=0)).float()
    window = torch.hann_window(WINDOW)
    classes: list[npt.NDArray[np.uint8]] = []
    held = np.zeros(0, np.float32)
    for samples in _mirrored(blocks):
        held = np.concatenate([held, samples])
        if len(held) < WINDOW:
            continue
        spectrum = torch.stft(
            torch.from_numpy(held), WINDOW, HOP, window=window, center=False, return_complex=True
        )
        strongest = (filters @ spectrum.abs() ** 2).argmax(0)
        classes.append(strongest.numpy().astype(np.uint8))
        held = held[len(strongest) * HOP :]
    return np.eye(CLASSES, dtype=np.float32)[:, np.concatenate(classes)]


def _mirrored(blocks: Iterable[Sound]) -> Iterator[Samples]:
    """The sound, which is mirrored at both ends, so that a frame is centred on its time."""
    half = WINDOW // 2
    held = np.zeros(0, np.float32)
    is_begun = False
    for block in blocks:
        held = np.concatenate([held, block[0]])
        if len(held) < WINDOW:
            continue
        if not is_begun:
            yield held[half:0:-1]
            is_begun = True
        yield held[:-WINDOW]
        held = held[-WINDOW:]
    if not is_begun:
        missing = WINDOW - len(held)
        held = np.pad(held, (missing // 2, missing - missing // 2))
        yield held[half:0:-1]
    yield held
    yield held[-2 : -half - 2 : -1]


def from_second(melody: Sound, start_s: float) -> Sound:
    """The melody for a window that begins at a time; it repeats after its end."""
    start = round(start_s * RATE_HZ / HOP)
    return np.roll(melody, -(start % melody.shape[1]), axis=1)
