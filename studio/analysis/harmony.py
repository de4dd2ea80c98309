"""Harmony: the tuning of a song, and chroma vectors of three registers.

A chroma vector has the strength of each of the 12 pitch classes, C first.
"""

import itertools

import numpy as np
import numpy.typing as npt

from studio.analysis.frames import RATE_HZ, Floats, Frames, Rows, Samples

Chroma = npt.NDArray[np.float16]
"""Chroma vectors of frames (frames, WIDTH), stored in half the size."""

SIZE, HOP = 8192, 2048
FPS = RATE_HZ / HOP
A4_HZ = 440.0
A4_PITCH = 69
LOWEST_PITCH, PITCHES = 28, 72
# MIDI pitches of the bass, the chords and the melody: centre and width of each register.
REGISTERS = ((40, 7), (57, 8), (72, 10))
WIDTH = 36
# The tuning is found from one frame in this many.
TUNING_EVERY = 4
TUNING_LOWEST_HZ, TUNING_HIGHEST_HZ = 110.0, 1_760.0
PEAKS = 12
# Filters are a third of a semitone apart, and a semitone is the sum of three.
PARTS = 3
# The strength of a pitch class that is barely heard, with an amplitude of about 0.001.
AUDIBLE = 0.02


class TuningFinder:
    """Finds how far the notes of a stream of samples at RATE_HZ are from A4 = 440 Hz.

    The loudest peaks of each spectrum vote with the deviation from the nearest semitone, on a
    circle, weighted by their amplitude.
    """

    def __init__(self) -> None:
        self._frames = Frames(SIZE, HOP * TUNING_EVERY)
        self._vote = 0j
        bins_hz = np.fft.rfftfreq(SIZE, 1 / RATE_HZ)
        self._first, self._last = np.searchsorted(bins_hz, (TUNING_LOWEST_HZ, TUNING_HIGHEST_HZ))

    def add(self, samples: Samples) -> None:
        for spectra in self._frames.add(samples):
            self._vote_for(spectra)

    def finish(self) -> float:
        """The deviation in cents, -50 to 50."""
        for spectra in self._frames.finish():
            self._vote_for(spectra)
        return float(np.angle(self._vote) / (2 * np.pi) * 100) if self._vote else 0.0

    def _vote_for(self, spectra: Samples) -> None:
        inside = spectra[:, self._first : self._last]
        is_peak = (inside > spectra[:, self._first - 1 : self._last - 1]) & (
            inside >= spectra[:, self._first + 1 : self._last + 1]
        )
        peaks = np.where(is_peak, inside, 0)
        places = np.argpartition(peaks, -PEAKS, axis=1)[:, -PEAKS:]
        rows = np.arange(len(peaks))[:, None]
        weights = peaks[rows, places]
        bins = places + self._first
        below, here, above = (
            np.log(np.maximum(spectra[rows, bins + step], 1e-9)) for step in (-1, 0, 1)
        )
        curve = below - 2 * here + above
        shift = np.where(curve < 0, 0.5 * (below - above) / np.minimum(curve, -1e-9), 0)
        pitches = pitch_of((bins + np.clip(shift, -0.5, 0.5)) * RATE_HZ / SIZE)
        self._vote += complex((weights * np.exp(2j * np.pi * pitches)).sum())


class ChromaFinder:
    """Measures the chroma of a stream of samples at RATE_HZ."""

    def __init__(self, tuning_cents: float, expected_s: float) -> None:
        self._frames = Frames(SIZE, HOP)
        self._bank = pitch_bank(tuning_cents)
        self._fold = registers()
        self._found = Rows(WIDTH, round(expected_s * FPS))

    def add(self, samples: Samples) -> None:
        for spectra in self._frames.add(samples):
            self._measure(spectra)

    def finish(self) -> Chroma:
        """Chroma (frames, WIDTH) at FPS, one register after the other."""
        for spectra in self._frames.finish():
            self._measure(spectra)
        return self._found.finish()

    def _measure(self, spectra: Samples) -> None:
        parts = np.sqrt(spectra @ self._bank)
        pitches = parts.reshape(len(parts), PITCHES, PARTS).sum(axis=2)
        self._found.add(pitches @ self._fold)


def pitch_of(hz: Floats) -> Floats:
    """The MIDI pitch of a frequency."""
    pitches: Floats = A4_PITCH + 12 * np.log2(np.maximum(hz, 1) / A4_HZ)
    return pitches


def pitch_bank(tuning_cents: float) -> Samples:
    """Triangular filters float32 (bins, PITCHES * PARTS), a third of a semitone or a bin wide."""
    bins_hz = np.fft.rfftfreq(SIZE, 1 / RATE_HZ)
    centres = LOWEST_PITCH + (np.arange(PITCHES * PARTS) - 1) / PARTS
    centres_hz = A4_HZ * 2 ** ((centres - A4_PITCH) / 12)
    widths = np.maximum(1 / PARTS, 12 * np.log2(1 + RATE_HZ / SIZE / centres_hz))
    distances = np.abs((pitch_of(bins_hz) - tuning_cents / 100)[:, None] - centres)
    weights = np.maximum(0, 1 - distances / widths)
    bank: Samples = (weights / np.maximum(weights.sum(axis=0), 1e-9)).astype(np.float32)
    return bank


def registers() -> Samples:
    """The share of each pitch in each element of a chroma vector: float32 (PITCHES, WIDTH)."""
    pitches = LOWEST_PITCH + np.arange(PITCHES)
    fold = np.zeros((PITCHES, len(REGISTERS), 12), np.float32)
    for number, (centre, width) in enumerate(REGISTERS):
        share = np.exp(-0.5 * ((pitches - centre) / width) ** 2)
        fold[np.arange(PITCHES), number, pitches % 12] = share
    shares: Samples = fold.reshape(PITCHES, WIDTH)
    return shares


def between(chroma: Chroma, times_s: Floats) -> Samples:
    """The mean chroma between consecutive times: float32 (times - 1, WIDTH)."""
    places = np.clip(np.round(times_s * FPS).astype(int), 0, max(0, len(chroma) - 1))
    return np.stack([
        chroma[start : max(end, start + 1)].mean(axis=0, dtype=np.float32)
        for start, end in itertools.pairwise(places)
    ])  # fmt: skip


def clarity(chroma: Chroma) -> float:
    """How much the pitch classes of the register of chords stand out: 0 if all are equally strong.

    The mean distance from their mean, as a multiple of it.
    """
    if len(chroma) == 0:
        return 0.0
    chords = chroma[:, 12:24].astype(np.float32)
    means = chords.mean(axis=1)
    distances = np.linalg.norm(chords - means[:, None], axis=1)
    return float((distances / np.maximum(means, 1e-9)).mean())


def is_audible(chroma: Samples) -> list[bool]:
    """Whether each row of chroma (n, WIDTH) is that of audible sound."""
    audible: list[bool] = (chroma.max(axis=1) > AUDIBLE).tolist()
    return audible


def normalised(chroma: Samples) -> Samples:
    """Chroma (n, WIDTH) whose registers have the mean 0 and the length 1."""
    split = chroma.reshape(len(chroma), len(REGISTERS), 12)
    split = split - split.mean(axis=2, keepdims=True)
    split /= np.maximum(np.linalg.norm(split, axis=2, keepdims=True), 1e-6)
    scaled: Samples = split.reshape(len(chroma), WIDTH).astype(np.float32)
    return scaled
