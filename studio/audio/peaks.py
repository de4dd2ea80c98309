"""Waveform data for players: the JSON of BBC audiowaveform, version 2, with 8 bits.

https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from studio.audio.sound import Sound
from studio.audio.writing import write_error

FINE, COARSE = 512, 8192
PEAKS_FORMATS = {FINE: "peaks", COARSE: f"{COARSE}.peaks"}
"""The extension of the file by its samples per pixel."""
PEAKS_TYPE = "application/json"

# Steps of a pixel from 0 to full scale.
LEVELS = 128
# Values that are formatted at once.
CHUNK = 1 << 16
# A pixel is at most "-128,-128,".
PIXEL_BYTES = 10
MAX_OVERHEAD_BYTES = 4096


class Peaks:
    """Collects the lowest and the highest sample of each pixel, over all channels.

    Takes two bytes for every FINE samples.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._pixels = bytearray()
        self._low = self._high = np.zeros(0, np.float32)

    def add(self, block: Sound) -> None:
        """Append float32 `(channels, samples)`."""
        self._low = np.concatenate([self._low, block.min(axis=0)])
        self._high = np.concatenate([self._high, block.max(axis=0)])
        whole = len(self._low) // FINE * FINE
        self._take(whole)

    def write_all(self, folder: Path, name: str) -> None:
        """Write the files of a track: one for each zoom level. Raises DiskFull."""
        for samples_per_pixel, extension in PEAKS_FORMATS.items():
            self.write(folder / f"{name}.{extension}", samples_per_pixel)

    def write(self, path: Path, samples_per_pixel: int) -> None:
        """Write the file of one zoom level. Raises DiskFull."""
        self._take(len(self._low))
        pixels = np.frombuffer(bytes(self._pixels), np.int8).reshape(-1, 2)
        starts = np.arange(0, len(pixels), samples_per_pixel // FINE)
        if len(starts):
            low = np.minimum.reduceat(pixels[:, 0], starts)
            high = np.maximum.reduceat(pixels[:, 1], starts)
            pixels = np.stack([low, high], axis=1)
        try:
            self._write(path, pixels, samples_per_pixel)
        except OSError as error:
            raise write_error(path, error) from error

    def _take(self, samples: int) -> None:
        """Turn that many of the held samples into pixels; the last one may be incomplete."""
        if samples == 0:
            return
        starts = np.arange(0, samples, FINE)
        low = np.minimum.reduceat(self._low[:samples], starts)
        high = np.maximum.reduceat(self._high[:samples], starts)
        pixels = np.rint(np.stack([low, high], axis=1) * LEVELS)
        self._pixels += pixels.clip(-LEVELS, LEVELS - 1).astype(np.int8).tobytes()
        self._low, self._high = self._low[samples:], self._high[samples:]

    def _write(self, path: Path, pixels: npt.NDArray[np.int8], samples_per_pixel: int) -> None:
        values = pixels.ravel()
        with path.open("w", encoding="ascii") as file:
            file.write(
                f'{{"version":2,"channels":1,"sample_rate":{self._sample_rate_hz},'
                f'"samples_per_pixel":{samples_per_pixel},"bits":8,"length":{len(pixels)},"data":['
            )
            for start in range(0, len(values), CHUNK):
                chunk = ",".join(map(str, values[start : start + CHUNK].tolist()))
                file.write(f",{chunk}" if start else chunk)
            file.write("]}\n")


def max_peaks_bytes(samples: int) -> int:
    """Bytes that the file of a zoom level takes at most."""
    return samples // FINE * PIXEL_BYTES + MAX_OVERHEAD_BYTES


def write_peaks(
    blocks: Iterable[Sound],
    sample_rate_hz: int,
    target: Path,
    samples_per_pixel: int,
    on_block: Callable[[], None],
) -> None:
    """Write the file of one zoom level; `on_block` may raise to cancel. Raises DiskFull."""
    peaks = Peaks(sample_rate_hz)
    for block in blocks:
        on_block()
        peaks.add(block)
    peaks.write(target, samples_per_pixel)
