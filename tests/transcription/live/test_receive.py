"""Chunks of every kind become one unbroken stream of speech; what is wrong is told in words."""

import base64
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.audio import ffmpeg_path
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.events import SessionError
from studio.transcription.live.receive import chunk_bytes, receiver
from tests.support.receiving import FRAGMENTS, heard, pieces
from tests.support.sounds import convert, decode_all, ffmpeg_children, level_db, tone, write_wav
from tests.support.speech import RECORDING

UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(UNHURRIED, max_examples=8)
RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]
WEBM = "audio/webm;codecs=opus"
OGG = "audio/ogg; codecs=opus"
MP4 = "audio/mp4; codecs=mp4a.40.2"


def pcm(sound: Speech) -> bytes:
    """16-bit samples, little-endian; sound is (samples,) or (samples, channels)."""
    return np.round(sound * 32767).astype("<i2").tobytes()


def error_of(mime_type: str, data: bytes) -> SessionError:
    with pytest.raises(SessionError) as refused:
        one = receiver(mime_type)
        one.seconds(data)
    return refused.value


@pytest.mark.parametrize("rate", RATES)
def test_any_rate_becomes_16_khz(rate: int) -> None:
    sound = heard(receiver(f"audio/pcm;rate={rate}"), [pcm(tone(2.0, 440.0, rate))])
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(2 * RATE_HZ, abs=2)
    assert level_db(sound) == pytest.approx(0.0, abs=0.1)
    expected = tone(2.0, 440.0, RATE_HZ)[: len(sound)]
    assert np.abs(sound[800:-800] - expected[800 : len(sound) - 800]).max() < 0.01


@FEW
@given(rate=st.sampled_from(RATES), sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=6))
def test_chunks_join_without_a_click(rate: int, sizes: list[int]) -> None:
    data = pcm(tone(1.0, 440.0, rate))
    whole = heard(receiver(f"audio/pcm;rate={rate}"), [data])
    cut = heard(receiver(f"audio/pcm;rate={rate}"), pieces(data, *(2 * size for size in sizes)))
    assert len(cut) == len(whole)
    assert np.abs(cut - whole).max() < 1e-6


def test_16_khz_is_taken_as_it_is() -> None:
    samples = np.arange(-32768, 32768, 7).astype("<i2")
    sound = heard(receiver("audio/pcm;rate=16000"), [samples.tobytes()])
    assert np.array_equal(sound, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_stereo_is_mixed(rate: int) -> None:
    left, right = tone(1.0, 300.0, rate), tone(1.0, 700.0, rate)
    kind = f"audio/pcm;rate={rate};channels=2"
    mixed = heard(receiver(kind), pieces(pcm(np.stack([left, right], 1)), 4000))
    mono = heard(receiver(f"audio/pcm;rate={rate}"), [pcm((left + right) * np.float32(0.5))])
    assert np.abs(mixed - mono).max() < 1e-3


def test_the_length_of_a_chunk_is_known_before_it_is_taken() -> None:
    assert receiver("audio/pcm;rate=8000").seconds(bytes(16_000)) == 1.0
    assert receiver("audio/pcm;rate=48000;channels=2").seconds(bytes(96_000)) == 0.5
    assert receiver(WEBM).seconds(bytes(1000)) == 0.0


def test_an_empty_chunk_is_no_sound() -> None:
    for rate in (16_000, 48_000):
        assert len(heard(receiver(f"audio/pcm;rate={rate}"), [b"", b""])) == 0


@pytest.mark.parametrize(
    "mime_type",
    [
        *("", "audio/wav", "video/webm", "x" * 10_000, ";;;", "\x00"),
        *("audio/pcm;rate=7999", "audio/pcm;rate=96001", "audio/pcm;rate=", "audio/pcm;rate=abc"),
        *("audio/pcm;rate=-16000", "audio/pcm;rate=1e4", "audio/pcm;rate=16000.0"),
        *("audio/pcm;channels=9", "audio/pcm;channels=0"),
    ],
)
def test_other_kinds_are_refused_with_those_that_are_known(mime_type: str) -> None:
    error = error_of(mime_type, b"")
    assert error.code == "unknown_mime_type"
    assert "audio/pcm;rate=16000" in error.message
    assert "audio/webm" in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "mime_type", ["Audio/PCM; Rate=8000", "audio/pcm ; rate = 8000", 'audio/pcm;rate="8000"']
)
def test_spelling_of_a_kind_is_free(mime_type: str) -> None:
    assert receiver(mime_type).seconds(bytes(16_000)) == 1.0


@UNHURRIED
@given(st.binary(max_size=300))
def test_base64_and_binary_are_the_same(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for form in (text, data, bytearray(data), memoryview(data)):
        assert chunk_bytes(form, 1000) == data


@pytest.mark.parametrize("data", ["AAA", "A*==", "äöü", "AAAA\n", "data:audio/pcm;base64,AAAA"])
def test_text_that_is_no_base64_is_refused(data: str) -> None:
    with pytest.raises(SessionError, match="not base64") as refused:
        chunk_bytes(data, 1000)
    assert refused.value.code == "bad_audio"


@pytest.mark.parametrize("data", [None, 5, 1.5, True, ["AAAA"], {"a": 1}])
def test_other_types_are_refused(data: object) -> None:
    with pytest.raises(SessionError, match="base64 text or binary") as refused:
        chunk_bytes(data, 1000)
    assert refused.value.code == "bad_audio"


def test_a_chunk_over_the_bound_is_refused() -> None:
    assert len(chunk_bytes(bytes(1000), 1000)) == 1000
    for data in (bytes(1001), base64.b64encode(bytes(1001)).decode()):
        with pytest.raises(SessionError, match="1,000") as refused:
            chunk_bytes(data, 1000)
        assert refused.value.code == "chunk_too_large"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The spoken recording as Chrome, Firefox (stereo) and Safari record it."""
    folder = tmp_path_factory.mktemp("recordings")
    opus = ["-c:a", "libopus", "-b:a", "32k"]
    live = ["-live", "1", "-cluster_time_limit", "200"]
    return {
        WEBM: convert(RECORDING, folder / "spoken.webm", *opus, *live),
        OGG: convert(RECORDING, folder / "spoken.ogg", *opus, "-ac", "2"),
        MP4: convert(RECORDING, folder / "spoken.mp4", "-c:a", "aac", "-b:a", "48k", *FRAGMENTS),
    }


def test_recordings_of_browsers_are_decoded(recordings: dict[str, Path]) -> None:
    true = decode_all(RECORDING, RATE_HZ, 1)[0]
    for mime_type, path in recordings.items():
        sound = heard(receiver(mime_type), pieces(path.read_bytes(), 1500))
        # AAC comes in whole frames, with a little silence at its end.
        assert len(sound) == pytest.approx(len(true), abs=0.15 * RATE_HZ)
        assert np.abs(sound).max() > 0.1
        size = min(len(sound), len(true))
        heard_hz, true_hz = (np.abs(np.fft.rfft(part[:size])) for part in (sound, true))
        assert np.corrcoef(heard_hz, true_hz)[0, 1] > 0.9


@FEW
@given(
    mime_type=st.sampled_from([WEBM, OGG, MP4]),
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=5).filter(lambda s: sum(s) > 300),
)
def test_recordings_may_come_in_any_pieces(
    recordings: dict[str, Path], mime_type: str, sizes: list[int]
) -> None:
    data = recordings[mime_type].read_bytes()[:40_000]
    whole = heard(receiver(mime_type), [data])
    cut = heard(receiver(mime_type), pieces(data, *sizes))
    assert np.array_equal(cut, whole)
    assert len(whole) > 5 * RATE_HZ
    assert ffmpeg_children() == []


def test_sound_comes_while_a_recording_goes_on(recordings: dict[str, Path]) -> None:
    """Without the end of the recording most of its sound is there."""
    for mime_type, path in recordings.items():
        one, data, samples = receiver(mime_type), path.read_bytes(), 0
        samples += len(one.feed(data))
        while samples < 15 * RATE_HZ:
            samples += len(one.feed(b""))
        one.close()
    assert ffmpeg_children() == []


@pytest.mark.parametrize("mime_type", [WEBM, OGG, MP4])
@pytest.mark.parametrize("data", [b"no recording at all" * 1000, bytes(50_000), b""])
def test_what_is_no_recording_is_told(mime_type: str, data: bytes) -> None:
    one = receiver(mime_type)
    with pytest.raises(SessionError, match="recording") as refused:
        one.feed(data)
        one.finish()
    assert refused.value.code == "bad_audio"
    one.close()
    assert ffmpeg_children() == []


def test_other_media_in_the_container_are_refused(tmp_path: Path) -> None:
    """A film, or sound that browsers do not record, is no recording of a voice."""
    flac = convert(RECORDING, tmp_path / "spoken.mka", "-c:a", "flac", "-f", "matroska")
    with pytest.raises(SessionError) as refused:
        heard(receiver(WEBM), pieces(flac.read_bytes(), 10_000))
    assert refused.value.code == "bad_audio"
    assert ffmpeg_children() == []


@pytest.mark.parametrize("mime_type", [WEBM, OGG, MP4])
def test_a_recording_that_breaks_keeps_its_beginning(
    recordings: dict[str, Path], mime_type: str
) -> None:
    data = recordings[mime_type].read_bytes()
    sound = heard(receiver(mime_type), pieces(data[: len(data) // 2], 3000))
    assert len(sound) > 7 * RATE_HZ
    assert ffmpeg_children() == []


def test_a_new_recording_is_recognised(recordings: dict[str, Path]) -> None:
    for mime_type, path in recordings.items():
        data = path.read_bytes()
        one = receiver(mime_type)
        assert not one.is_new(data)
        one.feed(data[:5000])
        assert not one.is_new(data[5000:])
        assert one.is_new(data)
        one.close()


def test_a_receiver_that_is_given_up_leaves_no_child(recordings: dict[str, Path]) -> None:
    for mime_type, path in recordings.items():
        for amount in (0, 10, 5000):
            one = receiver(mime_type)
            one.feed(path.read_bytes()[:amount])
            one.close()
            one.close()
    assert ffmpeg_children() == []


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    """An hour of silence in few bytes: no more than ten minutes are taken at once."""
    sound = write_wav(tmp_path / "silence.wav", np.zeros((1, 60 * 8000), np.float32), 8000)
    options = ["-c:a", "libopus", "-b:a", "6k", "-frame_duration", "60"]
    minute = convert(sound, tmp_path / "minute.ogg", *options)
    bomb = tmp_path / "bomb.ogg"
    command = [ffmpeg_path(), "-v", "error", "-stream_loop", "59", "-i", str(minute), "-c", "copy"]
    subprocess.run([*command, str(bomb)], check=True)
    with pytest.raises(SessionError) as refused:
        heard(receiver(OGG), [bomb.read_bytes()])
    assert refused.value.code == "bad_audio"
    assert ffmpeg_children() == []
