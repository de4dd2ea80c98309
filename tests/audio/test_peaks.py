"""Waveform data: the format of audiowaveform, and values that can be checked by hand."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from studio import audio
from studio.audio.peaks import COARSE, FINE, Peaks
from tests.support.sounds import RATE_HZ, Sound, noise, write_wav


def read(path: Path) -> tuple[dict[str, int], np.ndarray]:
    """The header, and the values as (pixels, low and high)."""
    content = json.loads(path.read_text("ascii"))
    data = np.array(content.pop("data"), int).reshape(-1, 2)
    return content, data


def expected(sound: Sound, samples_per_pixel: int) -> np.ndarray:
    starts = np.arange(0, sound.shape[1], samples_per_pixel)
    low = np.minimum.reduceat(sound.min(axis=0), starts)
    high = np.maximum.reduceat(sound.max(axis=0), starts)
    pixels: np.ndarray = np.rint(np.stack([low, high], axis=1) * 128).clip(-128, 127)
    return pixels


@pytest.mark.parametrize("samples_per_pixel", [FINE, COARSE])
@pytest.mark.parametrize("block_samples", [100, 512, 40_000])
def test_blocks_of_any_length_give_the_same_pixels(
    tmp_path: Path, samples_per_pixel: int, block_samples: int
) -> None:
    sound = noise(1.3)
    sound[:, 20_000:20_100] = 2.0
    peaks = Peaks(RATE_HZ)
    for start in range(0, sound.shape[1], block_samples):
        peaks.add(sound[:, start : start + block_samples])
    peaks.write(tmp_path / "track.peaks", samples_per_pixel)
    header, data = read(tmp_path / "track.peaks")
    assert header == {
        "version": 2,
        "channels": 1,
        "sample_rate": RATE_HZ,
        "samples_per_pixel": samples_per_pixel,
        "bits": 8,
        "length": -(-sound.shape[1] // samples_per_pixel),
    }
    assert np.array_equal(data, expected(sound, samples_per_pixel))
    assert data.max() == 127


def test_a_channel_alone_is_seen(tmp_path: Path) -> None:
    """A mean of both channels would hide sound of opposite phase."""
    left = np.full((1, 600), 0.5, np.float32)
    peaks = Peaks(RATE_HZ)
    peaks.add(np.concatenate([left, -left]))
    peaks.write(tmp_path / "track.peaks", FINE)
    assert read(tmp_path / "track.peaks")[1].tolist() == [[-64, 64], [-64, 64]]


def test_no_sound_has_no_pixels(tmp_path: Path) -> None:
    Peaks(RATE_HZ).write_all(tmp_path, "track")
    for extension in audio.PEAKS_FORMATS.values():
        header, data = read(tmp_path / f"track.{extension}")
        assert (header["length"], data.size) == (0, 0)


def test_peaks_of_a_track_are_those_of_its_writer(tmp_path: Path) -> None:
    sound = noise(2.0)
    with audio.track_writers(tmp_path, ["song"], RATE_HZ, 2, sound.shape[1], with_peaks=True) as [
        writer
    ]:
        writer.write(sound[:, :30_000])
        writer.write(sound[:, 30_000:])
    for samples_per_pixel, extension in audio.PEAKS_FORMATS.items():
        made = tmp_path / "made.peaks"
        blocks = audio.read_blocks(tmp_path / "song.wav")
        audio.write_peaks(blocks, RATE_HZ, made, samples_per_pixel, lambda: None)
        assert made.read_bytes() == (tmp_path / f"song.{extension}").read_bytes()
        assert made.stat().st_size <= audio.max_peaks_bytes(sound.shape[1])


def test_memory_is_two_bytes_a_pixel(tmp_path: Path) -> None:
    """Ten minutes of sound: 106 MB of samples."""
    block = noise(1.0)
    tracemalloc.start()
    peaks = Peaks(RATE_HZ)
    for _ in range(600):
        peaks.add(block)
    peaks.write_all(tmp_path, "track")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 12e6


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_joined_tracks_keep_every_channel(tmp_path: Path, audio_format: str) -> None:
    sounds = [noise(3.5, seed=seed) for seed in range(4)]
    paths = [
        write_wav(tmp_path / f"{number}.wav", sound, subtype="FLOAT")
        for number, sound in enumerate(sounds)
    ]
    target = tmp_path / f"stems.{audio_format}"
    blocks: list[None] = []
    audio.join_tracks(paths, target, audio_format, 0.5, lambda: blocks.append(None))
    joined = np.concatenate(list(audio.read_blocks(target)), axis=1)
    assert joined.shape == (8, sounds[0].shape[1])
    assert np.abs(joined - 0.5 * np.concatenate(sounds)).max() <= 2**-23
    assert len(blocks) == -(-sounds[0].shape[1] // audio.BLOCK_SAMPLES)
