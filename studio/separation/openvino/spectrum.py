"""The short-time Fourier transform of HTDemucs and its inverse, in NumPy and SciPy.

Equal to `HTDemucs._spec` and `_ispec`: a Hann window of `4 * hop`, scaled by `1 / sqrt(4 * hop)`, a
signal padded so that there is one frame a hop, the highest frequency bin left out. Every sample
that is kept lies under four windows, whose squares add up to 1.5 everywhere.
"""

import numpy as np
import numpy.typing as npt

from studio.audio import Sound

FRAMES_PER_WINDOW = 4
SQUARED_WINDOWS = 1.5
# So many frames of all signals fit into a processor's own cache while they are transformed.
FRAMES_AT_ONCE = 16

Spectrum = npt.NDArray[np.float32]
Signals = npt.NDArray[np.float32]


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
        from scipy import fft

        right = self._pad + self.frames * self._hop - self._samples
        padded = np.pad(sound, ((0, 0), (self._pad, right)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._size, axis=1)
        windows = windows[:, :: self._hop]
        scaled = self._hann / np.float32(np.sqrt(self._size))
        # Real and imaginary part of each channel.
        parts = np.empty((len(sound), 2, self.bins, self.frames), np.float32)
        for start in range(0, self.frames, FRAMES_AT_ONCE):
            stop = min(start + FRAMES_AT_ONCE, self.frames)
            spectrum = fft.rfft(windows[:, start:stop] * scaled, axis=2)[:, :, : self.bins]
            parts[:, 0, :, start:stop] = spectrum.real.swapaxes(1, 2)
            parts[:, 1, :, start:stop] = spectrum.imag.swapaxes(1, 2)
        return parts.reshape(-1, self.bins, self.frames)

    def inverse(self, spectra: Spectrum) -> Signals:
        """float32 (bins, frames, 2 * signals) -> float32 (signals, samples).

        Real and imaginary part of a signal lie side by side, as the network leaves them.
        """
        from scipy import fft

        pairs = np.ascontiguousarray(spectra, dtype=np.float32).view(np.complex64)
        signals = pairs.shape[2]
        scaled = self._hann * np.float32(np.sqrt(self._size) / SQUARED_WINDOWS)
        out = np.zeros((signals, self.frames + FRAMES_PER_WINDOW - 1, self._hop), np.float32)
        for start in range(0, self.frames, FRAMES_AT_ONCE):
            part = pairs[:, start : start + FRAMES_AT_ONCE]
            count = part.shape[1]
            bins = np.zeros((signals, count, self.bins + 1), np.complex64)
            bins[:, :, :-1] = part.transpose(2, 1, 0)
            framed = fft.irfft(bins, n=self._size, axis=2, overwrite_x=True)
            framed *= scaled
            hops = framed.reshape(signals, count, FRAMES_PER_WINDOW, self._hop)
            for number in range(FRAMES_PER_WINDOW):
                out[:, start + number : start + number + count] += hops[:, :, number]
        return out.reshape(signals, -1)[:, self._pad : self._pad + self._samples]
