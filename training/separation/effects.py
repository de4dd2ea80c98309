"""What records do to sounds: filters, compression, saturation, rooms, width, coding, clipping.

Every function takes and returns float32 of shape (2, samples) at RATE_HZ. The effects of the whole
mix scale all stems alike, so that the stems still add up to the mixture.
"""

from __future__ import annotations

import subprocess

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, resample_poly, sosfilt

from studio.audio import ffmpeg_path
from training.mix import PEAK, RATE_HZ, add_room

Floats = npt.NDArray[np.float32]

CODECS = {"mp3": "libmp3lame", "adts": "aac"}
"""Container format of a coder, by ffmpeg's name of the format."""
CODEC_TIMEOUT_S = 60


def treat(stem: Floats, rng: np.random.Generator) -> Floats:
    """Apply a random chain of effects to a stem; a silent one stays silent."""
    if not stem.any():
        return stem
    chain = (
        (0.7, equalise), (0.4, compress), (0.25, saturate), (0.3, add_room), (0.3, widen),
        (0.1, lower_rate), (0.15, code),
    )  # fmt: skip
    level = np.sqrt((stem**2).mean())
    for chance, effect in chain:
        if rng.random() < chance:
            stem = effect(stem, rng)
    changed = np.sqrt((stem**2).mean())
    treated: Floats = (stem * (level / max(changed, 1e-9))).astype(np.float32)
    return treated


def equalise(audio: Floats, rng: np.random.Generator) -> Floats:
    """Raise or lower up to three bands of an octave or two."""
    changed = audio.astype(np.float64)
    for _ in range(rng.integers(1, 4)):
        centre_hz = float(np.exp(rng.uniform(np.log(80), np.log(10_000))))
        width = float(rng.uniform(0.5, 1.0))
        edges = (centre_hz * 2**-width, min(centre_hz * 2**width, 0.45 * RATE_HZ))
        band = sosfilt(butter(1, edges, "bandpass", fs=RATE_HZ, output="sos"), changed, axis=1)
        changed = changed + (10 ** (rng.uniform(-8, 8) / 20) - 1) * band
    return changed.astype(np.float32)


def _gain(audio: Floats, rng: np.random.Generator) -> Floats:
    """The gain of a compressor over time, of shape (samples,)."""
    window = round(float(rng.uniform(0.01, 0.1)) * RATE_HZ)
    power = uniform_filter1d((audio.astype(np.float64) ** 2).mean(0), window)
    threshold = np.percentile(power, rng.uniform(40, 80)) + 1e-9
    above = np.maximum(power / threshold, 1.0)
    gain: Floats = (above ** (-0.5 * rng.uniform(0.2, 0.75))).astype(np.float32)
    return gain


def compress(audio: Floats, rng: np.random.Generator) -> Floats:
    return audio * _gain(audio, rng)


def saturate(audio: Floats, rng: np.random.Generator) -> Floats:
    """A soft curve that is driven by up to 18 dB."""
    drive = 10 ** (rng.uniform(0, 18) / 20) / max(float(np.abs(audio).max()), 1e-6)
    soft: Floats = np.tanh(audio * np.float32(drive)).astype(np.float32)
    return soft


def widen(audio: Floats, rng: np.random.Generator) -> Floats:
    """Scale the difference of the channels, from mono to twice as wide."""
    middle, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) / 2
    side = side * np.float32(rng.choice([0.0, 0.5, 1.5, 2.0]))
    return np.stack([middle + side, middle - side])


def lower_rate(audio: Floats, rng: np.random.Generator) -> Floats:
    """To half or a third of the sampling rate and back."""
    factor = int(rng.choice([2, 3]))
    low = resample_poly(audio, 1, factor, axis=1)
    back: Floats = resample_poly(low, factor, 1, axis=1)[:, : audio.shape[1]].astype(np.float32)
    return back


def code(audio: Floats, rng: np.random.Generator) -> Floats:
    """Through MP3 or AAC at 64 to 192 kbit/s."""
    container = str(rng.choice(list(CODECS)))
    bitrate = int(rng.choice([64, 96, 128, 192])) * 1000
    raw = ["-f", "f32le", "-ar", str(RATE_HZ), "-ac", "2"]
    coder = ["-c:a", CODECS[container], "-b:a", str(bitrate), "-f", container]
    samples = np.ascontiguousarray(np.clip(audio, -1, 1).T, "<f4").tobytes()
    coded = _ffmpeg([*raw, "-i", "-", *coder, "-"], samples)
    back = np.frombuffer(_ffmpeg(["-f", container, "-i", "-", *raw, "-"], coded), "<f4")
    stereo = back.reshape(-1, 2).T[:, : audio.shape[1]]
    padded: Floats = np.pad(stereo, ((0, 0), (0, audio.shape[1] - stereo.shape[1])))
    return padded


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = [ffmpeg_path(), "-nostdin", "-v", "error", *arguments]
    return subprocess.run(
        command, input=data, check=True, capture_output=True, timeout=CODEC_TIMEOUT_S
    ).stdout


def master(stems: Floats, rng: np.random.Generator) -> Floats:
    """Compress and limit the sum of stems of shape (4, 2, samples), as one gain for all of them."""
    if rng.random() < 0.5:
        stems = stems * _gain(stems.sum(0), rng)
    mixture = stems.sum(0)
    peak = max(float(np.abs(mixture).max()), 1e-6)
    if rng.random() < 0.4:
        # Samples above the limit are clipped; each stem loses its share.
        limit = peak * 10 ** (-rng.uniform(1, 8) / 20)
        stems = stems * np.minimum(1.0, limit / np.maximum(np.abs(mixture), 1e-9)).astype(
            np.float32
        )
    peak = max(float(np.abs(stems.sum(0)).max()), float(np.abs(stems).max()), 1e-6)
    loud: Floats = stems * np.float32(PEAK * 10 ** (-rng.uniform(0, 9) / 20) / peak)
    return loud
