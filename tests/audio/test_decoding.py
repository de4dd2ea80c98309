"""Sound of every container, rate and channel count comes in at its own length and level."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio import audio
from tests.support.odd_recordings import FRAGMENTS
from tests.support.sounds import (
    RATE_HZ,
    Sound,
    convert,
    decode_all,
    level_db,
    noise,
    tone,
    write_wav,
)

AAC_FRAME_S = 1024 / RATE_HZ
MP3_FRAME_S = 1152 / RATE_HZ

# File name, ffmpeg's options, codec, and how far the duration may be off (a frame, if at all).
CONTAINERS = [
    ("song.mp3", ("-b:a", "192k"), "mp3", 0.0),
    ("variable.mp3", ("-q:a", "2"), "mp3", 0.0),
    ("no-xing.mp3", ("-b:a", "128k", "-write_xing", "0"), "mp3", 2 * MP3_FRAME_S),
    ("no-xing-variable.mp3", ("-q:a", "4", "-write_xing", "0"), "mp3", 2 * MP3_FRAME_S),
    ("song.flac", (), "flac", 0.0),
    ("index-last.m4a", ("-c:a", "aac"), "aac", 0.0),
    ("index-first.m4a", ("-c:a", "aac", "-movflags", "+faststart"), "aac", 0.0),
    ("fragmented.m4a", ("-c:a", "aac", *FRAGMENTS), "aac", 2 * AAC_FRAME_S),
    ("lossless.m4a", ("-c:a", "alac"), "alac", 0.0),
    ("vorbis.ogg", ("-c:a", "libvorbis"), "vorbis", 0.0),
    ("opus.ogg", ("-c:a", "libopus"), "opus", 0.0),
]


@pytest.fixture(scope="module")
def tone_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = np.stack([tone(3.0, 440.0), tone(3.0, 3000.0)])
    return write_wav(tmp_path_factory.mktemp("tone") / "tone.wav", sound)


@pytest.mark.parametrize(("name", "options", "codec", "longer_s"), CONTAINERS)
def test_each_container_keeps_length_and_level(
    tone_wav: Path, tmp_path: Path, name: str, options: tuple[str, ...], codec: str, longer_s: float
) -> None:
    path = convert(tone_wav, tmp_path / name, *options)
    found = audio.probe(path)
    sound = decode_all(path)
    assert (found.codec, found.channels) == (codec, 2)
    assert found.sample_rate_hz == (48_000 if codec == "opus" else RATE_HZ)
    assert 3.0 <= found.duration_s + 1e-4 <= 3.0 + longer_s + 2e-4
    assert found.duration_s == pytest.approx(sound.shape[1] / RATE_HZ, abs=1e-4)
    if codec == "mp3":  # its encoder changes the level of a pure tone; ask another decoder
        reference, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
        assert level_db(sound) == pytest.approx(level_db(reference.T), abs=0.01)
    else:
        assert level_db(sound) == pytest.approx(0.0, abs=0.1)
    left, right = (np.abs(np.fft.rfft(channel[:RATE_HZ])) for channel in sound)
    assert [int(left.argmax()), int(right.argmax())] == [440, 3000]


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 0.0)],
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_a_wav_is_decoded_bit_for_bit_at_its_own_rate(
    tmp_path: Path, subtype: str, error: float, container: str
) -> None:
    sound = noise(1.0)
    path = tmp_path / "song.wav"
    soundfile.write(str(path), sound.T, RATE_HZ, subtype=subtype, format=container)
    decoded = decode_all(path)
    written, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    assert np.array_equal(decoded, written.T)
    assert np.abs(decoded - sound).max() <= error


def test_a_64_bit_wav_keeps_its_sound(tmp_path: Path) -> None:
    sound = noise(1.0)
    assert np.array_equal(
        decode_all(write_wav(tmp_path / "double.wav", sound, subtype="DOUBLE")), sound
    )


def test_flac_is_decoded_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    soundfile.write(str(path), noise(1.0).T, RATE_HZ, subtype="PCM_24")
    written, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    assert np.array_equal(decode_all(path), written.T)


@pytest.mark.parametrize("name", ["mono.wav", "mono.mp3", "mono.m4a", "mono.ogg", "mono.flac"])
def test_mono_is_copied_to_both_channels_at_its_own_level(tmp_path: Path, name: str) -> None:
    wav = write_wav(tmp_path / "source.wav", noise(2.0, channels=1))
    path = convert(wav, tmp_path / name)
    once = decode_all(path, channels=1)
    twice = decode_all(path, channels=2)
    assert audio.probe(path).channels == 1
    assert np.array_equal(twice, np.repeat(once, 2, axis=0))
    reference, _ = soundfile.read(str(wav if name.endswith("m4a") else path), dtype="float32")
    assert level_db(once) == pytest.approx(level_db(reference), abs=0.1)


def test_one_channel_labelled_left_is_mono_too(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "mono.wav", noise(1.0, channels=1))
    left = convert(wav, tmp_path / "left.wav", "-af", "pan=FL|FL=c0", "-c:a", "pcm_s24le")
    assert audio.probe(left).channels == 1
    once = decode_all(wav, channels=1)
    assert np.array_equal(decode_all(left, channels=1), once)
    assert np.array_equal(decode_all(left), np.repeat(once, 2, axis=0))


# What each channel of a layout gives to (left, right), as ffmpeg mixes down: centre and surrounds
# at -3 dB, the channel for low effects left out. All is scaled, so that neither side clips.
MIXED: dict[int, list[tuple[float, float]]] = {
    2: [(1, 0), (0, 1)],
    3: [(1, 0), (0, 1), (0, 0)],
    4: [(1, 0), (0, 1), (0.7071, 0.7071), (0.5, 0.5)],
    5: [(1, 0), (0, 1), (0.7071, 0.7071), (0.7071, 0), (0, 0.7071)],
    6: [(1, 0), (0, 1), (0.7071, 0.7071), (0, 0), (0.7071, 0), (0, 0.7071)],
    7: [(1, 0), (0, 1), (0.7071, 0.7071), (0, 0), (0.5, 0.5), (0.7071, 0), (0, 0.7071)],
    8: [(1, 0), (0, 1), (0.7071, 0.7071), (0, 0)] + [(0.7071, 0), (0, 0.7071)] * 2,
}
SCALED = {
    channels: np.array(shares) / np.sum(shares, 0).max() for channels, shares in MIXED.items()
}


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("channels", range(2, 9))
def test_many_channels_are_mixed_down(tmp_path: Path, channels: int, subtype: str) -> None:
    """Each channel holds a tone of its own, whose share on either side is then measured."""
    sound = np.stack([0.2 * tone(1.0, 500.0 * (n + 1)) for n in range(channels)])
    path = write_wav(tmp_path / "many.wav", sound, subtype=subtype)
    decoded = decode_all(path)
    assert audio.probe(path).channels == channels
    assert decoded.shape == (2, RATE_HZ)
    spectrum = np.abs(np.fft.rfft(decoded)) / (0.1 * RATE_HZ / 2)
    shares = [spectrum[:, 500 * (n + 1)] for n in range(channels)]
    assert np.allclose(shares, SCALED[channels], atol=0.002)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("channels", range(2, 9))
def test_equal_channels_keep_their_level(tmp_path: Path, channels: int, subtype: str) -> None:
    sound = np.float32(0.9) * np.stack([tone(1.0, 500.0)] * channels)
    path = write_wav(tmp_path / "equal.wav", sound, subtype=subtype)
    for mixed in (1, 2):
        assert np.abs(decode_all(path, channels=mixed) - sound[0]).max() < 1e-3


def test_a_5_1_recording_in_aac_and_ogg_is_mixed_down(tmp_path: Path) -> None:
    sound = np.stack([0.2 * tone(2.0, 500.0 * (n + 1)) for n in range(6)])
    wav = write_wav(tmp_path / "six.wav", sound)
    for name in ("six.m4a", "six.ogg", "six.flac"):
        path = convert(wav, tmp_path / name, "-b:a", "384k")
        assert audio.probe(path).channels == 6
        spectrum = np.abs(np.fft.rfft(decode_all(path)[:, :RATE_HZ])) / (0.1 * RATE_HZ / 2)
        shares = [spectrum[:, 500 * (n + 1)] for n in range(6)]
        assert np.allclose(shares, SCALED[6], atol=0.05), name


RATES_HZ = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_each_rate_keeps_length_and_level(tmp_path: Path, rate_hz: int) -> None:
    sound = tone(2.0, 1000.0, rate_hz)[None].repeat(2, axis=0)
    path = write_wav(tmp_path / "rate.wav", sound, rate_hz, "PCM_24")
    decoded = decode_all(path)
    assert audio.probe(path).sample_rate_hz == rate_hz
    assert audio.probe(path).duration_s == pytest.approx(2.0, abs=1e-6)
    assert decoded.shape == (2, 2 * RATE_HZ)
    assert level_db(decoded) == pytest.approx(0.0, abs=0.01)
    expected = tone(2.0)[RATE_HZ // 2 : -RATE_HZ // 2]
    assert np.abs(decoded[0, RATE_HZ // 2 : -RATE_HZ // 2] - expected).max() < 1e-3


@pytest.mark.parametrize(("rate_hz", "frequency_hz"), [(96_000, 30_000), (192_000, 70_000)])
def test_what_is_above_hearing_does_not_fold_back(
    tmp_path: Path, rate_hz: int, frequency_hz: int
) -> None:
    sound = tone(1.0, frequency_hz, rate_hz)[None].repeat(2, axis=0)
    decoded = decode_all(write_wav(tmp_path / "high.wav", sound, rate_hz, "FLOAT"))
    assert level_db(decoded) < -80


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_high_tones_pass_up_to_the_limit_of_the_lower_rate(tmp_path: Path, rate_hz: int) -> None:
    highest_hz = 0.43 * min(rate_hz, RATE_HZ)
    sound = tone(1.0, highest_hz, rate_hz)[None].repeat(2, axis=0)
    decoded = decode_all(write_wav(tmp_path / "high.wav", sound, rate_hz, "FLOAT"))
    assert level_db(decoded) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_a_file_of_a_few_samples(tmp_path: Path, samples: int) -> None:
    sound = np.full((2, samples), 0.25, np.float32)
    path = write_wav(tmp_path / "short.wav", sound)
    assert audio.probe(path).duration_s == pytest.approx(samples / RATE_HZ, abs=1e-6)
    assert np.array_equal(decode_all(path), sound)


@pytest.mark.parametrize("rate_hz", [8_000, RATE_HZ, 192_000])
def test_a_file_of_a_fiftieth_of_a_second(tmp_path: Path, rate_hz: int) -> None:
    sound = np.full((2, rate_hz // 50), 0.25, np.float32)
    path = write_wav(tmp_path / "short.wav", sound, rate_hz)
    assert audio.probe(path).duration_s == pytest.approx(0.02, abs=1e-6)
    assert decode_all(path).shape == (2, RATE_HZ // 50)


def pictured(tmp_path: Path, wav: Path, name: str) -> Path:
    """The sound with a cover picture."""
    picture = tmp_path / "cover.png"
    command = [audio.ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-f", "lavfi"]
    command += ["-i", "color=red:size=64x64", "-frames:v", "1", str(picture)]
    subprocess.run(command, check=True)
    options = ["-i", str(picture), "-map", "0:a", "-map", "1:v", "-c:v", "copy"]
    return convert(wav, tmp_path / name, *options, "-disposition:v", "attached_pic")


@pytest.mark.parametrize("name", ["cover.mp3", "cover.m4a", "cover.flac"])
def test_a_cover_picture_is_ignored(tone_wav: Path, tmp_path: Path, name: str) -> None:
    plain: Sound = decode_all(convert(tone_wav, tmp_path / f"plain-{name}"))
    path = pictured(tmp_path, tone_wav, name)
    assert path.stat().st_size > (tmp_path / f"plain-{name}").stat().st_size
    assert audio.probe(path).duration_s == pytest.approx(3.0, abs=1e-3)
    assert np.array_equal(decode_all(path), plain)
