"""What a mixing engineer does with four recorded stems: filters, room, levels.

A General MIDI soundfont plays kick and bass with nearly all of their energy below 120 Hz, and some
of its instruments carry a constant offset. Nobody releases a song like that, so the stems get
high-pass filters and shelves, and are balanced by how loud they sound instead of by their power.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, sosfilt

RATE_HZ = 44100
PEAK = 0.89
OTHER = 2

Floats = npt.NDArray[np.float32]


class Strip(NamedTuple):
    """The settings of one stem's channel strip; each is a range to draw from."""

    high_pass_hz: tuple[float, float]
    low_shelf_hz: float
    low_shelf_db: tuple[float, float]
    high_shelf_hz: float
    high_shelf_db: tuple[float, float]
    loudness_db: tuple[float, float]


STRIPS = (
    Strip((45, 65), 200, (-14, -8), 2500, (4, 7), (-18.0, -15.0)),
    Strip((38, 50), 110, (-6, -2), 300, (-2, 2), (-22.0, -19.5)),
    Strip((120, 200), 300, (-4, 1), 3000, (-1, 2), (-22.5, -19.5)),
    Strip((80, 130), 250, (-3, 1), 4000, (-1, 3), (-19.0, -16.0)),
)


def mix(stems: list[Floats], rng: np.random.Generator) -> Floats:
    """Filter and balance stems of shape (2, samples), in the order of STRIPS.

    Returns float32 of shape (stems, 2, samples); neither a stem nor their sum exceeds PEAK.
    """
    mixed = np.stack([
        _channel(stem, strip, rng) for stem, strip in zip(stems, STRIPS, strict=True)
    ])  # fmt: skip
    mixed[OTHER] = _to_one_side(mixed[OTHER], rng)
    peak = max(float(np.abs(mixed.sum(0)).max()), float(np.abs(mixed).max()), 1e-6)
    balanced: Floats = mixed * np.float32(PEAK / peak)
    return balanced


def add_room(audio: Floats, rng: np.random.Generator) -> Floats:
    """Add a diffuse stereo reverb of random length and level to (2, samples)."""
    decay_s = float(rng.uniform(0.2, 0.8))
    times_s = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.normal(size=(2, len(times_s))) * np.exp(-6.9 * times_s / decay_s)
    tail[:, : int(0.012 * RATE_HZ)] = 0.0
    tail *= float(rng.uniform(0.02, 0.15)) / np.sqrt((tail**2).sum(1, keepdims=True))
    wet = fftconvolve(audio, tail, axes=1)[:, : audio.shape[1]]
    mixed: Floats = (audio + wet).astype(np.float32)
    return mixed


def _channel(stem: Floats, strip: Strip, rng: np.random.Generator) -> Floats:
    high_pass_hz, low_db, high_db, loudness_db = (
        float(rng.uniform(*bounds))
        for bounds in (
            strip.high_pass_hz, strip.low_shelf_db, strip.high_shelf_db, strip.loudness_db,
        )
    )  # fmt: skip
    shaped = _high_pass(stem, high_pass_hz)
    shaped = _shelf(shaped, strip.low_shelf_hz, low_db, "lowpass")
    shaped = _shelf(shaped, strip.high_shelf_hz, high_db, "highpass")
    return _level(shaped, loudness_db)


def _to_one_side(audio: Floats, rng: np.random.Generator) -> Floats:
    """Pan (2, samples) left or right at constant power, to leave the middle to the voice."""
    angle = math.radians(float(rng.uniform(25, 42)) * float(rng.choice([-1.0, 1.0])))
    gains = np.sqrt(2.0) * np.array([np.cos(np.pi / 4 + angle), np.sin(np.pi / 4 + angle)])
    panned: Floats = (audio * gains[:, None]).astype(np.float32)
    return panned


def _high_pass(audio: Floats, cutoff_hz: float) -> Floats:
    sections = butter(2, cutoff_hz, "highpass", fs=RATE_HZ, output="sos")
    passed: Floats = sosfilt(sections, audio, axis=-1).astype(np.float32)
    return passed


def _shelf(audio: Floats, corner_hz: float, gain_db: float, side: str) -> Floats:
    """Change everything below ("lowpass") or above ("highpass") a corner by `gain_db`."""
    sections = butter(1, corner_hz, side, fs=RATE_HZ, output="sos")
    changed = audio + (10 ** (gain_db / 20) - 1) * sosfilt(sections, audio, axis=-1)
    shaped: Floats = changed.astype(np.float32)
    return shaped


def _level(stem: Floats, loudness_db: float) -> Floats:
    """Scale a stem to a loudness over the half seconds in which it sounds.

    Loudness is the RMS after a filter close to the K weighting of ITU-R BS.1770: bass counts
    less than its power, treble more.
    """
    heard = _shelf(_high_pass(stem, 60), 1500, 4, "highpass")
    block = RATE_HZ // 2
    length = heard.shape[1] // block * block
    power = (heard[:, :length].astype(np.float64) ** 2).reshape(2, -1, block).mean((0, 2))
    active = power[power > 1e-3 * power.max()] if power.max() > 0 else power
    rms = float(np.sqrt(active.mean())) if active.size else 0.0
    return stem * np.float32(10 ** (loudness_db / 20) / rms) if rms > 0 else stem
