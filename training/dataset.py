"""Draws training batches from the rendered songs, remixed on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch


class SongMixer:
    """Random segments of the songs in a folder.

    Half of the items are a stretch of one song, so that the stems share key and beat; the
    other half take every stem from another song. Stems change gain, polarity and channel order,
    and now and then one is silent.
    """

    def __init__(self, folder: Path, segment_samples: int, seed: list[int]) -> None:
        self.segment_samples = segment_samples
        self.rng = np.random.default_rng(seed)
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise FileNotFoundError(f"no rendered songs in {folder}")
        # Each is int16 of (4, 2, samples).
        self.songs: list[npt.NDArray[np.int16]] = [np.load(path, mmap_mode="r") for path in paths]

    def batch(self, size: int) -> torch.Tensor:
        """Stems as float32 of shape (size, 4, 2, segment_samples); their sum is the mixture."""
        return torch.from_numpy(np.stack([self._item() for _ in range(size)]))

    def _item(self) -> npt.NDArray[np.float32]:
        rng = self.rng
        coherent = rng.random() < 0.5
        place = self._place()
        stems = []
        for source in range(4):
            song, start = place if coherent else self._place()
            stem = self.songs[song][source, :, start : start + self.segment_samples]
            stems.append(self._augment(stem.astype(np.float32) / 32768.0))
        for source in range(4):
            if rng.random() < 0.04:
                stems[source] *= 0.0
        return np.stack(stems)

    def _place(self) -> tuple[int, int]:
        song = int(self.rng.integers(len(self.songs)))
        last = self.songs[song].shape[-1] - self.segment_samples
        return song, int(self.rng.integers(last + 1))

    def _augment(self, stem: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rng = self.rng
        if rng.random() < 0.5:
            stem = stem[::-1]
        gain = 10 ** (rng.uniform(-4, 4) / 20) * rng.choice([-1.0, 1.0])
        return stem * np.float32(gain)
