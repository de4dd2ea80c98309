"""What happens to a recording on its way: rooms, noise, music, microphones; and log-mel spectra."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import oaconvolve
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters

from .speech import RATE_HZ

Floats = npt.NDArray[np.float32]

_BANK_S = 40
_SLOPES = (0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0)


@functools.cache
def _noise_bank() -> list[Floats]:
    """Noises of several colours, some of them in one band or slowly swelling; RMS 1."""
    rng = np.random.default_rng(16)
    count = _BANK_S * RATE_HZ
    frequencies_hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    bank = []
    for slope in _SLOPES:
        spectrum = np.fft.rfft(rng.normal(size=count)) / np.maximum(frequencies_hz, 40) ** slope
        if rng.random() < 0.4:
            centre_hz = float(rng.uniform(200, 5000))
            spectrum *= 1.0 / (1.0 + ((frequencies_hz - centre_hz) / (0.4 * centre_hz)) ** 2)
        noise = np.fft.irfft(spectrum, count)
        if rng.random() < 0.4:
            times_s = np.arange(count) / RATE_HZ
            noise *= 1.0 + 0.7 * np.sin(2 * np.pi * rng.uniform(0.1, 2.0) * times_s)
        bank.append((noise / noise.std()).astype(np.float32))
    hum = sum(np.sin(2 * np.pi * 50 * n * np.arange(count) / RATE_HZ) / n for n in range(1, 9))
    bank.append((hum / np.std(hum)).astype(np.float32))
    return bank


def noise(rng: np.random.Generator, samples: int) -> Floats:
    """A stretch of noise of random colour, RMS about 1; at most _BANK_S long."""
    source = _noise_bank()[rng.integers(len(_SLOPES) + 1)]
    first = int(rng.integers(len(source) - samples + 1))
    return source[first : first + samples]


def loudness(audio: Floats) -> float:
    """RMS over the parts of a recording that are not silent."""
    power = audio[: len(audio) // 320 * 320].reshape(-1, 320).astype(np.float64) ** 2
    levels = power.mean(1)
    heard = levels[levels > 1e-3 * levels.max()] if levels.size and levels.max() > 0 else levels
    return float(np.sqrt(heard.mean())) if heard.size else 0.0


def add(audio: Floats, other: Floats, ratio_db: float) -> Floats:
    """Add `other` so that `audio` is `ratio_db` louder than it."""
    level = loudness(other)
    if level <= 0:
        return audio
    gain = loudness(audio) / level * 10 ** (-ratio_db / 20)
    return audio + np.float32(gain) * other


def reverberate(audio: Floats, rng: np.random.Generator) -> Floats:
    """Add the diffuse echo of a random room."""
    decay_s = float(rng.uniform(0.15, 0.6))
    times_s = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.normal(size=len(times_s)) * np.exp(-6.9 * times_s / decay_s)
    tail[: int(0.004 * RATE_HZ)] = 0.0
    tail *= float(rng.uniform(0.1, 0.5)) / np.sqrt((tail**2).sum())
    wet = oaconvolve(audio, tail.astype(np.float32))[: len(audio)]
    echoed: Floats = (audio + wet).astype(np.float32)
    return echoed


def change_speed(samples: npt.NDArray[np.int16], factor: float) -> Floats:
    """Play faster (and higher) by a factor; float32 in -1 to 1."""
    audio: Floats = np.asarray(samples, np.float32) * np.float32(1 / 32768)
    if factor == 1.0:
        return audio
    places = np.arange(int(len(audio) / factor), dtype=np.float32) * np.float32(factor)
    stretched: Floats = np.interp(places, np.arange(len(audio)), audio).astype(np.float32)
    return stretched


def log_mel(audio: Floats, tilt: Floats | None = None, louder: float = 0.0) -> torch.Tensor:
    """`whisper.audio.log_mel_spectrogram` of shape (80, frames), with two ways to vary it.

    `tilt` (80,) is added to the logarithms, as another microphone would. `louder` is how much the
    loudest place of the rest of the recording exceeds this stretch, in the same unit (20 dB).
    """
    spectrum = torch.stft(
        torch.from_numpy(audio), N_FFT, HOP_LENGTH, window=torch.hann_window(N_FFT),
        return_complex=True,
    )  # fmt: skip
    power = spectrum[:, :-1].abs() ** 2
    logs = (mel_filters("cpu", 80) @ power).clamp(min=1e-10).log10()
    if tilt is not None:
        logs = logs + torch.from_numpy(tilt)[:, None]
    logs = torch.maximum(logs, logs.max() + louder - 8.0)
    return (logs + 4.0) / 4.0


def random_tilt(rng: np.random.Generator) -> Floats:
    """A smooth random frequency response, in log10 of power per mel band."""
    points = rng.normal(0.0, 0.25, 5)
    curve: Floats = np.interp(np.arange(80), np.linspace(0, 79, 5), points).astype(np.float32)
    return curve
