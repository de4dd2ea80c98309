"""16-bit mono samples as bytes, and the header that makes a WAV file of them."""

import struct
from contextlib import closing
from pathlib import Path

import numpy as np

from studio.audio.decoding import decode

SAMPLE_BYTES = 2
HEADER_BYTES = 44
_PCM = 1
_MAX_DATA_BYTES = 0xFFFFFFFF - HEADER_BYTES


def wav_header(rate_hz: int, size_bytes: int) -> bytes:
    """The header for `size_bytes` bytes of 16-bit mono samples."""
    size_bytes = min(size_bytes - size_bytes % SAMPLE_BYTES, _MAX_DATA_BYTES)
    form = (_PCM, 1, rate_hz, rate_hz * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    return (
        b"RIFF"
        + struct.pack("<I", size_bytes + HEADER_BYTES - 8)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, *form)
        + b"data"
        + struct.pack("<I", size_bytes)
    )


def pcm_16(path: Path, rate_hz: int, start_s: float, duration_s: float) -> bytes:
    """A part of a recording as 16-bit mono samples; shorter if the recording ends within it."""
    first, last = round(start_s * rate_hz), round((start_s + duration_s) * rate_hz)
    parts, position = [], 0
    with closing(decode(path, rate_hz, 1)) as blocks:
        for block in blocks:
            begin, position = position, position + block.shape[1]
            parts.append(block[0, max(0, first - begin) : max(0, last - begin)])
            if position >= last:
                break
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return (np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes()
