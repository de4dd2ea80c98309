"""Tracks are written whole, at their length and level, in every format."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio import audio
from studio.audio import SoundWriter, piped
from studio.audio.pictures import Picture, add_ogg_picture
from studio.errors import InternalError
from tests.support.sounds import (
    RATE_HZ,
    Sound,
    decode_all,
    level_db,
    noise,
    read_sound,
    tone,
    write_wav,
)

FORMATS = list(audio.ENCODINGS)
# How far a sample may be off: nothing in float, half a step in 24 bit, audibly little in the rest.
SAMPLE_ERROR = {"wav": 0.0, "flac": 2**-23}


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stem as a job writes it: 32-bit float WAV."""
    sound = np.stack([tone(10.0, 440.0), tone(10.0, 1234.0)])
    return write_wav(tmp_path_factory.mktemp("stem") / "vocals.wav", sound, subtype="FLOAT")


@pytest.mark.parametrize("gain", [1.0, 0.25])
@pytest.mark.parametrize("audio_format", FORMATS)
def test_encoding_keeps_length_and_level(
    stem: Path, tmp_path: Path, audio_format: str, gain: float
) -> None:
    path = tmp_path / f"vocals.{audio_format}"
    audio.encode(stem, path, audio_format, gain)
    original, encoded = read_sound(stem), read_sound(path)
    info = soundfile.info(str(path))
    assert (info.samplerate, info.channels) == (RATE_HZ, 2)
    assert encoded.shape == original.shape
    assert audio.duration_s(path) == pytest.approx(10.0, abs=1e-4)
    if audio_format in SAMPLE_ERROR:
        assert np.abs(encoded - gain * original).max() <= SAMPLE_ERROR[audio_format]
    else:
        assert level_db(encoded) == pytest.approx(level_db(gain * original), abs=0.2)
        for number, frequency in enumerate((440, 1234)):
            spectrum = np.abs(np.fft.rfft(encoded[number, RATE_HZ : 2 * RATE_HZ]))
            assert spectrum.argmax() == frequency


@pytest.mark.parametrize(
    ("rate_hz", "channels", "samples"),
    # The second one has a frame more because of the silence of the encoder.
    [(44_100, 2, 88_200), (44_100, 2, 20 * 1152 + 10), (48_000, 1, 50_000), (22_050, 2, 22_050)],
)
def test_a_streamed_mp3_has_its_length_and_no_delay(
    tmp_path: Path, rate_hz: int, channels: int, samples: int
) -> None:
    sound = np.zeros((channels, samples), np.float32)
    sound[:, samples // 2] = 0.9
    path = tmp_path / "click.mp3"
    pieces = piped.encoded(iter([sound]), "mp3", rate_hz, channels, samples, tags=audio.Tags(""))
    path.write_bytes(b"".join(pieces))
    decoded = decode_all(path, rate_hz, channels)
    assert decoded.shape == sound.shape
    assert np.abs(decoded).argmax(axis=1).tolist() == [samples // 2] * channels
    found = audio.probe(path)
    assert found.says_its_end
    assert found.duration_s == pytest.approx(samples / rate_hz, abs=1e-5)
    assert soundfile.info(str(path)).frames == samples
    content = path.read_bytes()
    size_at = content.index(b"Info") + 12
    assert int.from_bytes(content[size_at : size_at + 4], "big") == len(content)


@pytest.mark.parametrize("samples", [1, 15, 16])
def test_a_streamed_flac_of_a_few_samples_ends_with_silence(tmp_path: Path, samples: int) -> None:
    block = np.full((2, samples), 0.25, np.float32)
    path = tmp_path / "sound.flac"
    pieces = piped.encoded(iter([block]), "flac", RATE_HZ, 2, samples, tags=audio.NO_TAGS)
    path.write_bytes(b"".join(pieces))
    sound, _ = soundfile.read(path)
    assert sound.shape == (16, 2)
    assert (sound[:samples] == 0.25).all()
    assert (sound[samples:] == 0).all()


def test_a_streamed_mp3_of_a_rate_that_mp3_lacks_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "high.mp3"
    sound = np.zeros((1, 96_000), np.float32)
    pieces = piped.encoded(iter([sound]), "mp3", 96_000, 1, 96_000, tags=audio.Tags(""))
    path.write_bytes(b"".join(pieces))
    assert decode_all(path, 48_000, 1).shape[1] >= 48_000
    assert audio.probe(path).duration_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("audio_format", ["mp3", "ogg"])
def test_lossy_formats_are_aligned_and_free_of_clicks(tmp_path: Path, audio_format: str) -> None:
    """A slow swell has no steep step; a click between blocks, or a shift, would show."""
    seconds = 12.0
    samples = np.arange(round(seconds * RATE_HZ))
    swell = np.sin(np.pi * samples / samples.size) * tone(seconds, 300.0)
    sound = np.stack([swell, swell]).astype(np.float32)
    path = tmp_path / f"swell.{audio_format}"
    audio.encode(write_wav(tmp_path / "swell.wav", sound, subtype="FLOAT"), path, audio_format)
    encoded = read_sound(path)
    assert np.abs(encoded - sound).max() < 0.02
    assert np.abs(np.diff(encoded)).max() < 1.2 * np.abs(np.diff(sound)).max()


@pytest.mark.parametrize("audio_format", FORMATS)
def test_nothing_clips_under_the_shared_gain(tmp_path: Path, audio_format: str) -> None:
    loud = 3.0 * tone(3.0, 200.0)
    stem = write_wav(tmp_path / "loud.wav", np.stack([loud, loud]), subtype="FLOAT")
    gain = audio.shared_gain([float(np.abs(loud).max()), 0.5])
    path = tmp_path / f"out.{audio_format}"
    audio.encode(stem, path, audio_format, gain)
    encoded = read_sound(path)
    assert gain == pytest.approx(0.98 / 1.5, rel=1e-4)
    assert np.abs(encoded).max() < 1.0
    assert np.abs(encoded - gain * read_sound(stem)).max() < 0.02


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("samples", [1, 100, audio.BLOCK_SAMPLES, audio.BLOCK_SAMPLES + 1])
def test_a_track_of_any_length_is_whole(tmp_path: Path, audio_format: str, samples: int) -> None:
    sound = np.full((2, samples), 0.25, np.float32)
    path = tmp_path / f"track.{audio_format}"
    with SoundWriter(path, audio_format, RATE_HZ, 2, samples) as writer:
        writer.write(sound[:, : samples // 2])
        writer.write(sound[:, samples // 2 :])
    assert writer.peak == 0.25
    assert read_sound(path).shape == (2, samples)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_silence_is_written_as_silence(tmp_path: Path, audio_format: str) -> None:
    path = tmp_path / f"silence.{audio_format}"
    with SoundWriter(path, audio_format, RATE_HZ, 2, RATE_HZ) as writer:
        writer.write(np.zeros((2, RATE_HZ), np.float32))
    assert read_sound(path).shape == (2, RATE_HZ)
    assert np.abs(read_sound(path)).max() < 1e-4


def test_a_float_wav_holds_more_than_full_scale(tmp_path: Path) -> None:
    sound: Sound = 5.0 * noise(0.5)
    path = tmp_path / "loud.wav"
    with SoundWriter(path, "wav", RATE_HZ, 2, sound.shape[1]) as writer:
        writer.write(sound)
    assert np.array_equal(read_sound(path), sound)
    assert writer.peak == float(np.abs(sound).max())


def test_an_error_inside_the_block_is_not_hidden(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        SoundWriter(tmp_path / "a.wav", "wav", RATE_HZ, 2, 10),
    ):
        raise ZeroDivisionError


def test_a_cover_that_cannot_be_added_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(b"no OGG")
    with pytest.raises(InternalError):
        add_ogg_picture(path, Picture(b"\xff\xd8\xff", "image/jpeg"), {})
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"no OGG"]


FOUR_GIB_SAMPLES = 2**32 // 8  # stereo, 4 bytes a sample


@pytest.mark.parametrize(
    ("samples", "magic"),
    [
        (FOUR_GIB_SAMPLES - 2048, b"RIFF"),
        (FOUR_GIB_SAMPLES, b"RF64"),
        (10 * FOUR_GIB_SAMPLES, b"RF64"),
    ],
)
def test_a_track_above_4_gib_gets_a_header_that_can_count_it(
    tmp_path: Path, samples: int, magic: bytes
) -> None:
    sound = noise(0.5)
    path = tmp_path / "long.wav"
    with SoundWriter(path, "wav", RATE_HZ, 2, samples) as writer:
        writer.write(sound)
    assert path.read_bytes()[:4] == magic
    assert np.array_equal(read_sound(path), sound)
    assert np.array_equal(np.concatenate(list(audio.decode(path, RATE_HZ, 2)), axis=1), sound)


LONG_SAMPLES = FOUR_GIB_SAMPLES + RATE_HZ


@pytest.fixture
def long_wav(tmp_path: Path) -> Path:
    """A WAV file of more than 4 GiB: silence up to its last second, which is a tone.

    The silence is a hole in the file, so that it takes no room on the disk.
    """
    path = tmp_path / "long.wav"
    with SoundWriter(path, "wav", RATE_HZ, 2, LONG_SAMPLES) as writer:
        writer._file.seek(LONG_SAMPLES - RATE_HZ)
        writer.write(np.stack([tone(1.0), tone(1.0)]))
    assert path.stat().st_size > 2**32
    assert path.stat().st_blocks * 512 < 2**26
    return path


def test_an_rf64_file_of_more_than_4_gib_has_its_length_and_its_end(long_wav: Path) -> None:
    found = audio.probe(long_wav)
    assert found.duration_s == pytest.approx(LONG_SAMPLES / RATE_HZ, abs=0.01)
    with soundfile.SoundFile(str(long_wav)) as file:
        assert file.frames == LONG_SAMPLES
        file.seek(LONG_SAMPLES - RATE_HZ)
        assert level_db(file.read(dtype="float32").T) == pytest.approx(0.0, abs=0.1)


@pytest.mark.slow
def test_an_rf64_file_of_more_than_4_gib_is_decoded_to_its_end(long_wav: Path) -> None:
    decoded, last = 0, np.zeros((2, 0), np.float32)
    for block in audio.decode(long_wav, RATE_HZ, 2, LONG_SAMPLES / RATE_HZ):
        decoded += block.shape[1]
        last = np.concatenate([last, block], axis=1)[:, -RATE_HZ // 2 :]
    assert decoded == LONG_SAMPLES
    assert level_db(last) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("peaks", "gain"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.5, 0.98], 1.0),
        ([0.5, 1.0], 0.98),
        ([0.1, 4.0, 2.0], 0.245),
        ([float("inf")], 1.0),
    ],
)
def test_the_shared_gain_lowers_only_what_would_clip(peaks: list[float], gain: float) -> None:
    assert audio.shared_gain(peaks) == pytest.approx(gain)


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 2), (32_000, 1), (16_000, 1)])
@pytest.mark.parametrize("audio_format", FORMATS)
def test_no_format_takes_more_than_was_reckoned_with(
    tmp_path: Path, audio_format: str, rate_hz: int, channels: int
) -> None:
    """Loud white noise is what no encoder can make small; a moment of it is all header."""
    for seconds in (0.01, 5.0):
        samples = (channels, round(seconds * rate_hz))
        loud = np.random.default_rng(0).uniform(-0.98, 0.98, samples).astype(np.float32)
        source = write_wav(tmp_path / "loud.wav", loud, rate_hz, subtype="FLOAT")
        path = tmp_path / f"made.{audio_format}"
        audio.encode(source, path, audio_format)
        assert path.stat().st_size <= audio.max_bytes(source, audio_format)
        assert audio.max_bytes(source, "wav") < 1.1 * source.stat().st_size + (16 << 10)
