"""Odd, damaged and hostile files: read as well as they can be, or refused with the reason."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio import audio
from studio.errors import AudioTruncated, AudioUnsupported, NotAudio
from tests.support.sounds import (
    RATE_HZ,
    convert,
    decode_all,
    ffmpeg_children,
    noise,
    tone,
    write_wav,
)

ENDINGS = ["mp3", "wav", "flac", "m4a", "ogg"]


def test_nan_and_infinity_in_a_float_wav_become_numbers(tmp_path: Path) -> None:
    sound = noise(1.0)
    sound[0, 1000], sound[1, 2000], sound[1, 3000] = np.nan, np.inf, -np.inf
    decoded = decode_all(write_wav(tmp_path / "nan.wav", sound, subtype="FLOAT"))
    expected = sound.copy()
    expected[0, 1000], expected[1, 2000], expected[1, 3000] = 0.0, 1.0, -1.0
    assert np.array_equal(decoded, expected)


def test_nan_stays_local_when_the_rate_is_converted(tmp_path: Path) -> None:
    sound = tone(1.0, rate_hz=48_000)[None].repeat(2, axis=0)
    clean = decode_all(write_wav(tmp_path / "clean.wav", sound, 48_000, "FLOAT"))
    sound[:, 24_000] = np.nan
    decoded = decode_all(write_wav(tmp_path / "nan.wav", sound, 48_000, "FLOAT"))
    assert np.isfinite(decoded).all()
    assert np.count_nonzero(decoded != clean) < 200


def test_silence_is_silence(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "silence.wav", np.zeros((2, RATE_HZ), np.float32))
    for name in ("silence.flac", "silence.mp3", "silence.m4a", "silence.ogg"):
        path = convert(wav, tmp_path / name)
        assert audio.probe(path).duration_s == pytest.approx(1.0, abs=0.01)
        assert not decode_all(path).any()


def test_louder_than_full_scale_is_not_clipped(tmp_path: Path) -> None:
    sound = 4.0 * noise(0.5)
    assert np.array_equal(
        decode_all(write_wav(tmp_path / "loud.wav", sound, subtype="FLOAT")), sound
    )


@pytest.fixture(scope="module")
def each_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    wav = write_wav(folder / "song.wav", noise(1.0))
    return {kind: convert(wav, folder / f"other.{kind}") for kind in ENDINGS}


@pytest.mark.parametrize("kind", ENDINGS)
def test_the_content_counts_not_the_ending(
    each_kind: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    """An upload is probed without an ending and decoded with the one its sender chose."""
    content = each_kind[kind].read_bytes()
    plain = tmp_path / "incoming"
    plain.write_bytes(content)
    found, sound = audio.probe(plain), decode_all(plain)
    for ending in ENDINGS:
        path = tmp_path / f"song.{ending}"
        path.write_bytes(content)
        assert audio.probe(path) == found, ending
        assert np.array_equal(decode_all(path), sound), ending


@pytest.mark.parametrize(
    "name",
    [
        "with spaces.wav",
        'quote\'s "double" `back`.wav',
        "-i.wav",
        "--help",
        "歌曲 第一首.wav",
        "50% $HOME; rm -rf *.wav",
        "http:song.wav",
        "concat:a|b.wav",
        "new\nline.wav",
    ],
)
def test_file_names_are_only_names(tmp_path: Path, name: str) -> None:
    sound = noise(0.2)
    path = write_wav(tmp_path / name, sound, subtype="FLOAT")
    assert audio.probe(path).duration_s == pytest.approx(0.2)
    assert np.array_equal(decode_all(path), sound)


def test_a_relative_path_that_begins_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sound = noise(0.2)
    write_wav(Path("-y.wav"), sound, subtype="FLOAT")
    assert np.array_equal(decode_all(Path("-y.wav")), sound)


@pytest.mark.parametrize(
    "title",
    [
        "Stream #0:0: Audio: mp3, 400000 Hz, mono",
        "Duration: 99:00:00.00, start",
        "one\nStream #0:0: Audio: mp3, 400000 Hz, mono\n  Duration: 99:00:00.00",
    ],
)
@pytest.mark.parametrize("ending", ["mp3", "flac", "m4a"])
def test_a_title_is_not_taken_for_what_the_file_is(tmp_path: Path, title: str, ending: str) -> None:
    wav = write_wav(tmp_path / "song.wav", noise(1.0))
    found = audio.probe(convert(wav, tmp_path / f"song.{ending}", "-metadata", f"title={title}"))
    assert (found.sample_rate_hz, found.channels) == (RATE_HZ, 2)
    assert found.duration_s == pytest.approx(1.0, abs=0.01)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "m3u": "#EXTM3U\n{secret}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD type="static"><BaseURL>{secret}</BaseURL></MPD>',
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    "text": "no sound at all\n" * 50,
    "html": "<!doctype html><title>404</title>" + " " * 2000,
    "png": "\x89PNG\r\n\x1a\n" + "\0" * 500,
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_what_names_other_files_is_refused(tmp_path: Path, kind: str) -> None:
    secret = write_wav(tmp_path / "secret.wav", noise(0.2))
    content = PLAYLISTS[kind].format(secret=secret).encode("latin-1")
    path = tmp_path / "incoming"
    path.write_bytes(content)
    with pytest.raises(NotAudio):
        audio.probe(path)
    for ending in ENDINGS:
        path = tmp_path / f"song.{ending}"
        path.write_bytes(content)
        with pytest.raises(NotAudio):
            decode_all(path)


def test_a_container_that_is_not_taken_is_refused(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "song.wav", noise(0.5))
    for name in ("song.avi", "song.au", "song.caf", "song.ac3"):
        with pytest.raises(NotAudio):
            audio.probe(convert(wav, tmp_path / name))


@pytest.mark.parametrize("seconds", [5.0, 70.0])
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("mp3", ("-b:a", "64k")),
        ("flac", ()),
        ("m4a", ("-c:a", "aac", "-movflags", "+faststart")),
        ("m4a", ("-c:a", "alac", "-movflags", "+faststart")),
    ],
)
def test_a_file_that_is_cut_off_is_refused(
    tmp_path: Path, seconds: float, ending: str, options: tuple[str, ...]
) -> None:
    wav = write_wav(tmp_path / "song.wav", noise(seconds, 1, 8_000), 8_000)
    whole = convert(wav, tmp_path / f"whole.{ending}", *options)
    assert audio.probe(whole).duration_s == pytest.approx(seconds, abs=0.05)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    for share in (0.5, 0.9):
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(AudioTruncated, match="Upload the complete file"):
            audio.probe(cut)


def test_an_m4a_whose_index_is_missing_says_so(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "song.wav", noise(2.0))
    content = convert(wav, tmp_path / "song.m4a").read_bytes()
    cut = tmp_path / "incoming"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioTruncated, match="index is missing"):
        audio.probe(cut)


def test_a_wav_from_a_pipe_has_no_length_and_is_read_whole(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "piped.wav", noise(1.0))
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert audio.probe(path).duration_s == pytest.approx(1.0, abs=1e-4)
    assert decode_all(path).shape == (2, RATE_HZ)


def test_a_header_without_sound_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "empty.wav", np.zeros((2, 0), np.float32))
    with pytest.raises(NotAudio, match="no audio can be decoded"):
        audio.probe(path)


@pytest.mark.parametrize(("rate_hz", "channels"), [(7_999, 1), (3_000, 2), (192_001, 1)])
def test_a_rate_out_of_range_is_refused(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = write_wav(tmp_path / "rate.wav", noise(0.2, channels, rate_hz), rate_hz)
    with pytest.raises(AudioUnsupported, match=f"{rate_hz:,} Hz"):
        audio.probe(path)


@pytest.mark.parametrize("channels", [9, 12, 16, 24])
def test_too_many_channels_are_refused(tmp_path: Path, channels: int) -> None:
    path = write_wav(tmp_path / "many.wav", noise(0.2, channels))
    with pytest.raises(AudioUnsupported, match="8 channels"):
        audio.probe(path)


def test_a_decoder_that_is_closed_early_leaves_no_child(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(60.0))
    blocks = audio.decode(path, RATE_HZ, 2)
    assert next(blocks).shape == (2, audio.BLOCK_SAMPLES)
    assert len(ffmpeg_children()) == 1
    blocks.close()
    assert ffmpeg_children() == []


def test_a_decoder_that_ends_leaves_no_child(tmp_path: Path) -> None:
    decode_all(write_wav(tmp_path / "short.wav", noise(0.2)))
    assert ffmpeg_children() == []


def test_blocks_are_bounded_and_complete(tmp_path: Path) -> None:
    sound = noise(10.0)
    path = write_wav(tmp_path / "song.wav", sound, subtype="FLOAT")
    blocks = list(audio.decode(path, RATE_HZ, 2))
    assert {block.shape[1] for block in blocks[:-1]} == {audio.BLOCK_SAMPLES}
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.array_equal(np.concatenate(blocks, axis=1), sound)


def test_decoding_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotAudio) as caught:
        decode_all(tmp_path / "missing.wav")
    assert str(tmp_path) not in caught.value.sentence


def test_reading_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "stem.wav"
    sound = noise(4.0)
    soundfile.write(str(path), sound.T, RATE_HZ, subtype="FLOAT")
    assert audio.duration_s(path) == pytest.approx(4.0)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(path)), axis=1), sound)
