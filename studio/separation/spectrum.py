"""The short-time Fourier transform of HTDemucs and its inverse, in NumPy and SciPy.

Equal to `HTDemucs._spec` and `_ispec`: a Hann window of `4 * hop`, scaled by `1 / sqrt(4 * hop)`, a
signal padded so that there is one frame a hop, the highest frequency bin left out. Every sample
that is kept lies under four windows, whose squares add up to 1.5 everywhere.
"""

import numpy as np
import numpy.typing as npt
import scipy.fft

from studio.audio import Sound
from studio.separation.network import Stems

FRAMES_PER_WINDOW = 4
SQUARED_WINDOWS = 1.5

Spectrum = npt.NDArray[np.float32]


class Spectrogram:
    """Transforms windows of one length; `hop` samples from frame to frame."""

    def __init__(self, window_samples: int, hop: int) -> None:
        self._samples = window_samples
        self._hop = hop
        self._size = FRAMES_PER_WINDOW * hop
        self.frames = -(-window_samples // hop)
        self.bins = self._size // 2
        self._pad = hop // 2 * 3
        phase = 2 * np.pi * np.arange(self._size) / self._size
        self._hann = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    def forward(self, sound: Sound) -> Spectrum:
        """float32 (channels, samples) -> float32 (2 * channels, bins, frames).

        Real and imaginary parts are channels of their own, as the network takes them.
        """
        right = self._pad + self.frames * self._hop - self._samples
        padded = np.pad(sound, ((0, 0), (self._pad, right)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._size, axis=1)
        framed = windows[:, :: self._hop] * (self._hann / np.float32(np.sqrt(self._size)))
        spectrum = scipy.fft.rfft(framed, axis=2)[:, :, : self.bins]
        parts = np.stack([spectrum.real, spectrum.imag], axis=1)
        return np.ascontiguousarray(
            parts.transpose(0, 1, 3, 2).reshape(-1, self.bins, self.frames), dtype=np.float32
        )

    def inverse(self, spectrum: Spectrum) -> Stems:
        """float32 (sources, 2 * channels, bins, frames) -> float32 (sources, channels, samples)."""
        sources, doubled = spectrum.shape[:2]
        parts = spectrum.reshape(sources, doubled // 2, 2, self.bins, self.frames)
        bins = np.zeros((sources, doubled // 2, self.frames, self.bins + 1), np.complex64)
        bins[..., :-1].real = parts[:, :, 0].swapaxes(2, 3)
        bins[..., :-1].imag = parts[:, :, 1].swapaxes(2, 3)
        framed = scipy.fft.irfft(bins, n=self._size, axis=3, overwrite_x=True)
        framed *= self._hann * np.float32(np.sqrt(self._size) / SQUARED_WINDOWS)
        hops = framed.reshape(*framed.shape[:3], FRAMES_PER_WINDOW, self._hop)
        shape = (*framed.shape[:2], self.frames + FRAMES_PER_WINDOW - 1, self._hop)
        out = np.zeros(shape, np.float32)
        for number in range(FRAMES_PER_WINDOW):
            out[:, :, number : number + self.frames] += hops[:, :, :, number]
        joined = out.reshape(*shape[:2], -1)
        return joined[:, :, self._pad : self._pad + self._samples]
