"""Onset strength: how much louder each band of a spectrum becomes.

The flux of a logarithmic mel spectrum with a maximum filter over the bands, which ignores vibrato:
Böck and Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.analysis.frames import RATE_HZ, Floats, Frames, Rows, Samples

SIZE, HOP = 2048, 256
FPS = RATE_HZ / HOP
BANDS = 48
LOWEST_HZ, HIGHEST_HZ = 30.0, 10_000.0
# Borders between the bands of kick drums and basses, of snare drums and voices, and of cymbals.
LOW_HZ, HIGH_HZ = 150.0, 2_000.0
# Amplitudes are compared after log(1 + COMPRESSION * amplitude).
COMPRESSION = 500.0
# Frames over which the flux is taken.
LAG = 2
# An amplitude that is heard.
AUDIBLE = 1e-3


@dataclass(frozen=True)
class Onsets:
    """Onset strengths at FPS: of all bands, then of low, middle and high ones.

    They are stored as float16 (frames, 4), half the size. `audible_s` is where the first and the
    last audible frame lie; None for silence.
    """

    strengths: npt.NDArray[np.float16]
    audible_s: tuple[float, float] | None

    def band(self, number: int) -> Samples:
        """One of the strengths, float32 (frames,); the first is that of all bands."""
        strength: Samples = self.strengths[:, number].astype(np.float32)
        return strength


class OnsetFinder:
    """Measures the onset strength of a stream of samples at RATE_HZ."""

    def __init__(self, expected_s: float) -> None:
        self._frames = Frames(SIZE, HOP)
        self._bank, centres_hz = mel_bank()
        self._groups = [
            np.ones(BANDS, bool),
            centres_hz < LOW_HZ,
            (centres_hz >= LOW_HZ) & (centres_hz < HIGH_HZ),
            centres_hz >= HIGH_HZ,
        ]
        self._before: Samples | None = None
        self._found = Rows(len(self._groups), round(expected_s * FPS))
        self._count = 0
        self._audible: list[int] = []

    def add(self, samples: Samples) -> None:
        for spectra in self._frames.add(samples):
            self._measure(spectra)

    def finish(self) -> Onsets:
        for spectra in self._frames.finish():
            self._measure(spectra)
        strengths = self._found.finish()
        if not self._audible:
            return Onsets(strengths, None)
        return Onsets(strengths, (self._audible[0] / FPS, self._audible[-1] / FPS))

    def _measure(self, spectra: Samples) -> None:
        loud = np.flatnonzero(spectra.max(axis=1) > AUDIBLE) + self._count
        if len(loud):
            first = self._audible[0] if self._audible else int(loud[0])
            self._audible = [first, int(loud[-1])]
        self._count += len(spectra)
        bands = np.log1p(COMPRESSION * (spectra @ self._bank))
        before = bands[:1].repeat(LAG, axis=0) if self._before is None else self._before
        held = np.concatenate([before, bands])
        reference = held[:-LAG].copy()
        reference[:, 1:] = np.maximum(reference[:, 1:], held[:-LAG, :-1])
        reference[:, :-1] = np.maximum(reference[:, :-1], held[:-LAG, 1:])
        flux = np.maximum(held[LAG:] - reference, 0)
        self._before = held[-LAG:]
        means = [flux[:, group].mean(axis=1) for group in self._groups]
        self._found.add(np.stack(means, axis=1))


def mel_bank() -> tuple[Samples, Floats]:
    """Triangular filters float32 (bins, bands) on the mel scale, and the bands' centres in Hz."""
    bins_hz = np.fft.rfftfreq(SIZE, 1 / RATE_HZ)
    mels = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    edges_hz = 700 * (10 ** (mels / 2595) - 1)
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - low) / (centre - low)
    falling = (high - bins_hz[:, None]) / (high - centre)
    bank = np.maximum(0, np.minimum(rising, falling))
    return (bank / np.maximum(bank.sum(axis=0), 1e-9)).astype(np.float32), centre


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def smoothed(strength: Floats, frames: float) -> Floats:
    """Onset strength under a Gaussian of this standard deviation."""
    from scipy.ndimage import gaussian_filter1d

    smooth: Floats = gaussian_filter1d(strength, frames)
    return smooth


def at(strength: Floats, times_s: Floats) -> Floats:
    """Onset strength at times, interpolated."""
    strengths: Floats = np.interp(times_s * FPS, np.arange(len(strength)), strength)
    return strengths
