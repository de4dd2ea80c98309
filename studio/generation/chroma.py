"""Extracts the melody of a recording for the melody variants: one pitch class per frame.

The same numbers as `MusicgenMelodyFeatureExtractor`, which needs torchaudio, from PyTorch alone.
"""

from collections.abc import Iterable

import numpy as np

from studio.audio import Sound

RATE_HZ = 32_000
WINDOW = 16_384
HOP = 4096
CLASSES = 12
LONGEST_S = 300.0


def melody(blocks: Iterable[Sound]) -> Sound:
    """float32 (12, frames), one-hot in each frame, from mono audio at RATE_HZ.

    Only the first LONGEST_S are used, because generated music is never longer.
    """
    import torch
    from transformers.audio_utils import chroma_filter_bank

    found: list[Sound] = []
    held = 0
    for block in blocks:
        found.append(block[0])
        held += block.shape[1]
        if held >= LONGEST_S * RATE_HZ:
            break
    sound = torch.from_numpy(np.concatenate(found)[: round(LONGEST_S * RATE_HZ)])
    if len(sound) < WINDOW:
        missing = WINDOW - len(sound)
        sound = torch.nn.functional.pad(sound, (missing // 2, missing - missing // 2))
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(sound, WINDOW, HOP, window=window, return_complex=True).abs() ** 2
    filters = chroma_filter_bank(WINDOW, CLASSES, RATE_HZ, tuning=0)
    strength = torch.from_numpy(filters).float() @ spectrum
    chroma = torch.zeros_like(strength)
    chroma.scatter_(0, strength.argmax(0, keepdim=True), 1.0)
    return np.asarray(chroma.numpy(), np.float32)


def from_second(melody: Sound, start_s: float) -> Sound:
    """The melody for a window that begins at a time; it repeats after its end."""
    start = round(start_s * RATE_HZ / HOP)
    return np.roll(melody, -(start % melody.shape[1]), axis=1)
