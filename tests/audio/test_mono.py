"""Voices in opposite phase are heard in one channel, and other sound is mixed as ever."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio import audio
from studio.audio import MonoMixer, StreamDecoder
from tests.support.sounds import Sound, convert, decode_all, noise, write_wav
from tests.support.speech import RECORDING

RATE_HZ = 16_000
THIRD = np.float32(1 / 3)
SHAPES: dict[str, Callable[[Sound], Sound]] = {
    "opposite": lambda voice: np.stack([voice, -voice]),
    "opposite, and quieter": lambda voice: np.stack([0.8 * voice, -voice]),
    "opposite over noise": lambda voice: (
        np.stack([voice, -voice])
        + np.float32(0.1) * noise(len(voice) / RATE_HZ, 1, RATE_HZ).repeat(2, axis=0) * 0.1
    ),
    "opposite pairs": lambda voice: np.stack([voice, voice, -voice, -voice]),
    "one of three": lambda voice: np.stack([voice, voice, voice * np.float32(-2.8)]) * THIRD,
    "opposite sides of six": lambda voice: np.stack([voice, -voice, *[0 * voice] * 4]),
    "opposite sides of eight": lambda voice: np.stack([*[0 * voice] * 6, voice, -voice]),
    "opposite over loud LFE": lambda voice: np.stack(
        [voice, -voice, 0 * voice, rumble(voice, 3.0), 0 * voice, 0 * voice]
    ),
    "only in LFE": lambda voice: np.stack([*[0 * voice] * 3, voice, *[0 * voice] * 2]),
    "third microphone": lambda voice: np.stack(
        [*noise(len(voice) / RATE_HZ, 2, RATE_HZ) * np.float32(0.05 * level(voice)), voice]
    ),
}

WITH_LFE = {"opposite over loud LFE", "only in LFE"}


def with_layout(path: Path) -> Path:
    """The same sound in a file that declares what each channel is."""
    return convert(path, path.with_name(f"layout-{path.name}"), "-c:a", "pcm_f32le")


def rumble(voice: Sound, factor: float) -> Sound:
    """A tone of 50 Hz at `factor` times the level of a voice."""
    times_s = np.arange(len(voice), dtype=np.float32) / RATE_HZ
    tone: Sound = np.sin(np.float32(2 * np.pi * 50) * times_s)
    return tone * np.float32(factor * np.sqrt(2) * level(voice))


@pytest.fixture(scope="module")
def voice() -> Sound:
    return decode_all(RECORDING, RATE_HZ, 1)[0, : 6 * RATE_HZ]


def level(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=float))))


def likeness(sound: Sound, voice: Sound) -> float:
    length = min(len(sound), len(voice))
    return abs(float(np.corrcoef(sound[:length], voice[:length])[0, 1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_voice_in_opposite_phase_is_heard(tmp_path: Path, voice: Sound, shape: str) -> None:
    channels = SHAPES[shape](voice).astype(np.float32)
    path = write_wav(tmp_path / "voice.wav", channels, RATE_HZ, "FLOAT")
    if shape in WITH_LFE:
        path = with_layout(path)
    heard = decode_all(path, RATE_HZ, 1)[0]
    assert len(heard) == len(voice)
    assert level(heard) > 0.25 * max(map(level, channels))
    assert likeness(heard, voice) > 0.97


@pytest.mark.parametrize("name", ["voice.mp3", "voice.flac", "voice.m4a", "voice.ogg"])
def test_it_is_heard_in_each_format(tmp_path: Path, voice: Sound, name: str) -> None:
    wav = write_wav(tmp_path / "voice.wav", np.stack([voice, -voice]), RATE_HZ)
    heard = decode_all(convert(wav, tmp_path / name), RATE_HZ, 1)[0]
    assert level(heard) == pytest.approx(level(voice), rel=0.3)


def mean_of_ffmpeg(path: Path) -> Sound:
    """As integer samples, whose mean is within full scale."""
    command = [audio.ffmpeg_path(), "-v", "error", "-i", str(path), "-ac", "1"]
    command += ["-af", "aresample=16000:filter_size=64:cutoff=0.98", "-f", "s32le", "-"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return (np.frombuffer(output, "<i4") / 2**31).astype(np.float32)


@pytest.mark.parametrize("channels", range(2, 9))
def test_other_sound_is_mixed_as_ffmpeg_does(tmp_path: Path, channels: int) -> None:
    sounds = [noise(2.0, 1, seed=seed)[0] for seed in range(channels)]
    path = write_wav(tmp_path / "song.wav", np.stack(sounds))
    assert np.allclose(decode_all(path, RATE_HZ, 1)[0], mean_of_ffmpeg(path), rtol=0, atol=1e-6)


@pytest.mark.parametrize("active", [0, 1])
def test_sound_in_one_channel_is_mixed_as_ffmpeg_does(tmp_path: Path, active: int) -> None:
    sound = noise(2.0)
    sound[1 - active] = 0
    path = write_wav(tmp_path / "song.wav", sound)
    assert np.allclose(decode_all(path, RATE_HZ, 1)[0], mean_of_ffmpeg(path), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("channels", "lfe"), [(3, 2), (6, 3)])
def test_rumble_in_the_lfe_channel_does_not_replace_a_voice_after_a_pause(
    tmp_path: Path, voice: Sound, channels: int, lfe: int
) -> None:
    sounds = np.zeros((channels, len(voice)), np.float32)
    # The center channel; in 2.1, the right one.
    sounds[lfe - 1] = voice
    sounds[lfe - 1, 2 * RATE_HZ : 4 * RATE_HZ] = 0
    sounds[lfe] = rumble(voice, 5.0)
    path = with_layout(write_wav(tmp_path / "film.wav", sounds, RATE_HZ, "FLOAT"))
    assert np.allclose(decode_all(path, RATE_HZ, 1)[0], mean_of_ffmpeg(path), rtol=0, atol=1e-6)


def test_the_choice_is_left_again_without_a_click(voice: Sound) -> None:
    """A recording of which a part is in opposite phase, in pieces of any length."""
    sign = np.ones(len(voice), np.float32)
    sign[2 * RATE_HZ : 4 * RATE_HZ] = -1
    channels = np.stack([voice, sign * voice])
    mean = channels.mean(axis=0)
    for piece in (160, 1600, 5000, len(voice)):
        mixer = MonoMixer(RATE_HZ)
        mixed = np.concatenate(
            [
                mixer.mix(mean[at : at + piece], channels[:, at : at + piece])
                for at in range(0, len(voice), piece)
            ]
        )
        assert np.array_equal(mixed[: 2 * RATE_HZ], mean[: 2 * RATE_HZ])
        assert level(mixed[3 * RATE_HZ : 4 * RATE_HZ]) > 0.9 * level(
            voice[3 * RATE_HZ : 4 * RATE_HZ]
        )
        assert np.abs(mixed[5 * RATE_HZ :]).max() > 0.1
        assert np.abs(np.diff(mixed)).max() <= np.abs(np.diff(voice)).max() + 0.05


def test_silence_stays_silence() -> None:
    mixer = MonoMixer(RATE_HZ)
    silence = np.zeros((2, RATE_HZ), np.float32)
    assert not mixer.mix(silence[0], silence).any()


@pytest.mark.parametrize("sign", [1, -1], ids=["equal", "opposite"])
@pytest.mark.parametrize("container", ["ogg", "matroska"])
def test_a_live_recording_is_heard_at_its_level(
    tmp_path: Path, voice: Sound, container: str, sign: int
) -> None:
    wav = write_wav(tmp_path / "voice.wav", np.stack([voice, sign * voice]), RATE_HZ)
    ending = "ogg" if container == "ogg" else "webm"
    content = convert(wav, tmp_path / f"voice.{ending}", "-c:a", "libopus").read_bytes()
    decoder = StreamDecoder(container, RATE_HZ)
    parts = [decoder.feed(content[at : at + 3000]) for at in range(0, len(content), 3000)]
    heard = np.concatenate([*parts, decoder.finish()])
    assert len(heard) == pytest.approx(len(voice), abs=RATE_HZ // 20)
    assert level(heard) == pytest.approx(level(voice), rel=0.2)
