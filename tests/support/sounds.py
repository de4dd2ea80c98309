"""Sounds that tests make, write, read and convert."""

import io
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import requests

from tests.support.server import ROOT

SONG = ROOT / "samples" / "song"
RATE_HZ = 44_100

Sound = npt.NDArray[np.float32]


def noise(seconds: float, channels: int = 2, rate_hz: int = RATE_HZ, seed: int = 0) -> Sound:
    """Coloured noise with a tone, float32 (channels, samples), peak about 0.5."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    hiss = generator.normal(0, 0.05, (channels, samples))
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(samples) / rate_hz)
    return (hiss + tone).astype(np.float32)


def tone(seconds: float, frequency_hz: float = 1000.0, rate_hz: int = RATE_HZ) -> Sound:
    """A sine of amplitude 0.5, float32 (samples,)."""
    samples = np.arange(round(seconds * rate_hz))
    return (0.5 * np.sin(2 * np.pi * frequency_hz * samples / rate_hz)).astype(np.float32)


def level_db(sound: Sound) -> float:
    """Level of the middle half of a sound against that of `tone`, in dB."""
    length = sound.shape[-1]
    middle = sound[..., length // 4 : 3 * length // 4].astype(np.float64)
    return float(20 * np.log10(max(np.sqrt(np.mean(middle**2)), 1e-9) / (0.5 / np.sqrt(2))))


def decode_all(path: Path, rate_hz: int = RATE_HZ, channels: int = 2) -> Sound:
    """A whole file as `studio.audio.decode` yields it, float32 (channels, samples)."""
    from studio.audio import decode

    blocks = list(decode(path, rate_hz, channels))
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((channels, 0), np.float32)


def ffmpeg_children() -> list[int]:
    """Process ids of the ffmpeg children of this process that still run."""
    import psutil

    running = []
    for child in psutil.Process().children():
        # It may end at any moment.
        with suppress(psutil.NoSuchProcess):
            if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE:
                running.append(child.pid)
    return running


def write_wav(path: Path, sound: Sound, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Path:
    import soundfile

    soundfile.write(str(path), sound.T, rate_hz, subtype=subtype, format="WAV")
    return path


def read_sound(path: Path) -> Sound:
    """float32 (channels, samples) of a file that libsndfile reads."""
    import soundfile

    frames, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    return np.ascontiguousarray(frames.T)


def sound_of(answer: requests.Response) -> Sound:
    """float32 (channels, samples) of a download at RATE_HZ."""
    import soundfile

    assert answer.status_code == 200, answer.text
    frames, rate_hz = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(frames.T)


def convert(source: Path, target: Path, *options: str) -> Path:
    """Make another container of a file with ffmpeg."""
    from studio.audio import ffmpeg_path

    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-i", str(source)]
    subprocess.run([*command, *options, str(target)], check=True)
    return target


def write_song(path: Path, seconds: int) -> Path:
    """Noise of any length, 16-bit WAV, made piece by piece."""
    import soundfile

    frames = (noise(10.0).T * 32767).astype(np.int16)
    with soundfile.SoundFile(str(path), "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(seconds // 10):
            file.write(frames)
    return path
