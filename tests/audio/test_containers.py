"""The containers of recorders, browsers and videos: their sound, its length, and their end."""

from pathlib import Path

import pytest

from studio import audio
from studio.audio import probing
from studio.errors import AudioTruncated
from tests.support.sounds import RATE_HZ, convert, decode_all, level_db, tone, write_wav

# A video that is longer than its sound.
VIDEO = ("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration={}")
# ffmpeg's options, by the name of the file.
CONTAINERS: dict[str, tuple[str, ...]] = {
    "opus.webm": ("-c:a", "libopus"),
    "video.webm": (*VIDEO, "-c:a", "libopus", "-c:v", "libvpx"),
    "recorded.webm": ("-c:a", "libopus", "-f", "webm", "-live", "1"),
    "video.mkv": (*VIDEO, "-c:a", "ac3", "-c:v", "libx264"),
    "video.mp4": (*VIDEO, "-c:a", "aac", "-c:v", "libx264"),
    "video.mov": (*VIDEO, "-c:a", "pcm_s16le", "-c:v", "libx264"),
    "video.mpeg": (*VIDEO, "-c:a", "mp2", "-c:v", "mpeg2video", "-r", "25"),
    "sound.mpga": ("-c:a", "libmp3lame", "-f", "mp3"),
    "sound.opus": ("-c:a", "libopus"),
    "sound.aac": ("-c:a", "aac"),
    "sound.aiff": (),
    "call.amr": ("-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1"),
    "webm.ogg": ("-c:a", "libopus", "-f", "webm"),
}


@pytest.fixture(params=[10.0, pytest.param(70.0, marks=pytest.mark.slow)])
def length_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The length of a recording of which more is known than what is decoded at first."""
    length_s: float = request.param
    monkeypatch.setattr(probing, "FULLY_PROBED_S", min(60.0, length_s - 2.0))
    return length_s


@pytest.fixture
def wav(tmp_path: Path, length_s: float) -> Path:
    return write_wav(tmp_path / "tone.wav", tone(length_s)[None])


def contained(wav: Path, length_s: float, name: str) -> Path:
    options = (option.format(length_s + 5) for option in CONTAINERS[name])
    return convert(wav, wav.with_name(name), *options)


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_sound_of_a_container(wav: Path, length_s: float, name: str) -> None:
    path = contained(wav, length_s, name)
    found = audio.probe(path)
    sound = decode_all(path)
    assert found.duration_s == pytest.approx(length_s, abs=0.1)
    assert sound.shape[1] / RATE_HZ == pytest.approx(found.duration_s, abs=0.1)
    assert level_db(sound) == pytest.approx(0, abs=6.0 if name == "call.amr" else 1.0)
    file_type = name.rpartition(".")[2]
    assert file_type in found.file_types or name == "webm.ogg"


@pytest.mark.parametrize("name", ["opus.webm", "video.mkv", "sound.aiff"])
def test_half_of_a_file_is_refused(wav: Path, length_s: float, name: str) -> None:
    path = contained(wav, length_s, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioTruncated):
        audio.probe(path)


def test_a_recording_without_an_end_is_taken_as_it_is(wav: Path, length_s: float) -> None:
    path = contained(wav, length_s, "recorded.webm")
    assert not audio.probe(path).says_its_end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < audio.probe(path).duration_s < length_s
