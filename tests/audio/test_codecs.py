"""Codecs of everyday files are decoded at their level; others are named, with what to do."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio import audio
from studio.errors import AudioUnsupported, NotAudio
from tests.support.sounds import RATE_HZ, convert, decode_all, level_db, noise, tone, write_wav

WIDE, NARROW = ("-ac", "1", "-ar", "16000"), ("-ac", "1", "-ar", "8000")
# File name, ffmpeg's options, and its name of the codec.
ACCEPTED = [
    ("mp2.mp3", ("-c:a", "mp2", "-f", "mp2"), "mp2"),
    ("mp2.wav", ("-c:a", "mp2"), "mp2"),
    ("mp2.m4a", ("-c:a", "mp2", "-f", "mp4"), "mp3"),
    ("mp3.wav", ("-c:a", "libmp3lame"), "mp3"),
    ("g722.wav", ("-c:a", "g722", *WIDE), "adpcm_g722"),
    ("g726.wav", ("-c:a", "g726", *NARROW), "adpcm_g726"),
    ("ac3.m4a", ("-c:a", "ac3", "-f", "mp4"), "ac3"),
    ("ac3.wav", ("-c:a", "ac3"), "ac3"),
    ("eac3.m4a", ("-c:a", "eac3", "-f", "mp4"), "eac3"),
    ("eac3.wav", ("-c:a", "eac3"), "eac3"),
    ("amr.m4a", ("-c:a", "libopencore_amrnb", *NARROW, "-f", "3gp"), "amr_nb"),
    ("yamaha.wav", ("-c:a", "adpcm_yamaha"), "adpcm_yamaha"),
    ("ima.m4a", ("-c:a", "adpcm_ima_qt", "-f", "mov"), "adpcm_ima_qt"),
    ("s8.m4a", ("-c:a", "pcm_s8", "-f", "mov"), "pcm_s8"),
    ("f32be.m4a", ("-c:a", "pcm_f32be", "-f", "mov"), "pcm_f32be"),
    ("f64be.m4a", ("-c:a", "pcm_f64be", "-f", "mov"), "pcm_f64be"),
    ("s64.wav", ("-c:a", "pcm_s64le"), "pcm_s64le"),
    ("opus.m4a", ("-c:a", "libopus", "-f", "mp4"), "opus"),
    ("flac.m4a", ("-c:a", "flac", "-f", "mp4"), "flac"),
]
REFUSED = [
    ("dts.wav", ("-c:a", "dca", "-strict", "-2"), r"DTS \(dts\)"),
    ("truehd.m4a", ("-c:a", "truehd", "-strict", "-2", "-f", "mp4"), r"Dolby TrueHD \(truehd\)"),
    ("wma.wav", ("-c:a", "wmav2"), r"Windows Media Audio \(wmav2\)"),
    ("g723.wav", ("-c:a", "g723_1", *NARROW), r"G.723.1 \(g723_1\)"),
    ("swf.wav", ("-c:a", "adpcm_swf", "-ar", "22050"), "adpcm_swf"),
    ("dfpwm.wav", ("-c:a", "dfpwm"), "dfpwm"),
]


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = np.stack([tone(2.0)] * 2)
    return write_wav(tmp_path_factory.mktemp("codecs") / "tone.wav", sound)


def assert_tone(path: Path) -> None:
    found = audio.probe(path)
    sound = decode_all(path)
    assert found.duration_s == pytest.approx(2.0, abs=0.05)
    assert sound.shape[1] / RATE_HZ == pytest.approx(found.duration_s, abs=2e-3)
    # Codecs of telephones change the level of a pure tone.
    assert level_db(sound) == pytest.approx(0, abs=6.0 if found.sample_rate_hz == 8000 else 1.0)
    spectrum = np.abs(np.fft.rfft(sound[0, RATE_HZ // 2 : 3 * RATE_HZ // 2]))
    assert spectrum.argmax() == 1000


@pytest.mark.parametrize(("name", "options", "codec"), ACCEPTED, ids=lambda value: str(value)[:9])
def test_an_everyday_codec_is_decoded(
    wav: Path, tmp_path: Path, name: str, options: tuple[str, ...], codec: str
) -> None:
    path = convert(wav, tmp_path / name, *options)
    assert audio.probe(path).codec == codec
    assert_tone(path)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "IMA_ADPCM", "MS_ADPCM", "ALAW", "ULAW"])
def test_a_wav_of_a_telephone_is_decoded(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(str(path), tone(2.0, rate_hz=8000), 8000, subtype=subtype)
    assert_tone(path)


def wave_of(tag: int, bits: int, frame_bytes: int, more: bytes, rate_hz: int, data: bytes) -> bytes:
    form = struct.pack("<HHIIHH", tag, 2, rate_hz, rate_hz * frame_bytes, frame_bytes, bits) + more
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


GUID = bytes.fromhex("0100000000001000800000aa00389b71")


@pytest.mark.parametrize(
    ("tag", "bits", "more"),
    [
        (1, 24, b""),
        (0xFFFE, 32, struct.pack("<HHI", 22, 24, 3) + GUID),
        (0xFFFE, 24, struct.pack("<HHI", 22, 24, 3) + GUID),
        (0xFFFE, 32, struct.pack("<HHI", 22, 20, 3) + GUID),
    ],
)
def test_24_bits_in_32_are_decoded_bit_for_bit(
    tmp_path: Path, tag: int, bits: int, more: bytes
) -> None:
    sound = noise(1.0)
    whole = (sound.astype(np.float64) * 2**23).astype("<i4") << 8
    path = tmp_path / "song.wav"
    path.write_bytes(wave_of(tag, bits, 8, more, RATE_HZ, whole.T.tobytes()))
    assert audio.probe(path).duration_s == pytest.approx(1.0)
    assert np.array_equal(decode_all(path), (whole / 2.0**31).astype(np.float32))


def test_24_bits_in_32_of_more_than_a_minute(tmp_path: Path) -> None:
    """Beyond the first minute, only the end is decoded."""
    whole = (noise(61.0, 2, 8000) * 2**23).astype("<i4") << 8
    path = tmp_path / "song.wav"
    path.write_bytes(wave_of(1, 24, 8, b"", 8000, whole.T.tobytes()))
    assert audio.probe(path).duration_s == pytest.approx(61.0, abs=0.1)


@pytest.mark.parametrize("tag", [0xFF, 0x1600])
def test_aac_in_a_wav_is_decoded(wav: Path, tmp_path: Path, tag: int) -> None:
    frames = convert(wav, tmp_path / "tone.aac").read_bytes()
    path = tmp_path / "song.wav"
    path.write_bytes(wave_of(tag, 0, 1, b"", RATE_HZ, frames))
    assert_tone(path)


def test_aac_in_a_wav_that_lost_its_frames_is_named(wav: Path, tmp_path: Path) -> None:
    """ffmpeg writes such files, and nothing can read them."""
    with pytest.raises(NotAudio, match=r"\(aac\).*Convert the file"):
        audio.probe(convert(wav, tmp_path / "song.wav", "-c:a", "aac"))


@pytest.mark.parametrize(("name", "options", "named"), REFUSED, ids=lambda value: str(value)[:9])
def test_another_codec_is_named_with_what_to_do(
    wav: Path, tmp_path: Path, name: str, options: tuple[str, ...], named: str
) -> None:
    path = convert(wav, tmp_path / name, *options)
    with pytest.raises(AudioUnsupported, match=f"{named}, which is not accepted.*Convert"):
        audio.probe(path)


def cenc(wav: Path, folder: Path) -> bytes:
    key: tuple[str, ...] = ("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb")
    key += ("-encryption_kid", "a7e61c373e219033c21091fa607bf3b8")
    options = ("-c:a", "aac", "-encryption_scheme", "cenc-aes-ctr", *key, "-f", "mp4")
    return convert(wav, folder / "enc.m4a", *options).read_bytes()


def bought(wav: Path, folder: Path) -> bytes:
    return convert(wav, folder / "plain.m4a").read_bytes().replace(b"mp4a", b"drms", 1)


def audible(wav: Path, folder: Path) -> bytes:
    return convert(wav, folder / "plain.m4a").read_bytes().replace(b"mp4a", b"aavd", 1)


@pytest.mark.parametrize("make", [cenc, bought, audible])
def test_an_encrypted_m4a_is_reported_as_encrypted(
    wav: Path, tmp_path: Path, make: Callable[[Path, Path], bytes]
) -> None:
    path = tmp_path / "song.m4a"
    path.write_bytes(make(wav, tmp_path))
    with pytest.raises(AudioUnsupported, match="encrypted"):
        audio.probe(path)


def test_an_unknown_codec_says_so(wav: Path, tmp_path: Path) -> None:
    content = bytearray(convert(wav, tmp_path / "plain.wav").read_bytes())
    struct.pack_into("<H", content, 20, 0x7A21)
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    with pytest.raises((AudioUnsupported, NotAudio), match=r"Convert|Send"):
        audio.probe(path)
