"""The containers of recorders, browsers and videos: their sound, its length, and their end."""

from pathlib import Path

import pytest

from studio import audio
from studio.errors import AudioTruncated
from tests.support.server import RATE_HZ, convert, decode_all, level_db, tone, write_wav

LONG_S = 70.0
# A video that is longer than its sound.
VIDEO = ("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration=75")
# File name and ffmpeg's options.
CONTAINERS = [
    ("opus.webm", ("-c:a", "libopus")),
    ("video.webm", (*VIDEO, "-c:a", "libopus", "-c:v", "libvpx")),
    ("recorded.webm", ("-c:a", "libopus", "-f", "webm", "-live", "1")),
    ("video.mkv", (*VIDEO, "-c:a", "ac3", "-c:v", "libx264")),
    ("video.mp4", (*VIDEO, "-c:a", "aac", "-c:v", "libx264")),
    ("video.mov", (*VIDEO, "-c:a", "pcm_s16le", "-c:v", "libx264")),
    ("video.mpeg", (*VIDEO, "-c:a", "mp2", "-c:v", "mpeg2video", "-r", "25")),
    ("sound.mpga", ("-c:a", "libmp3lame", "-f", "mp3")),
    ("sound.opus", ("-c:a", "libopus")),
    ("sound.aac", ("-c:a", "aac")),
    ("sound.aiff", ()),
    ("call.amr", ("-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1")),
    ("webm.ogg", ("-c:a", "libopus", "-f", "webm")),
]


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("containers")
    return write_wav(folder / "tone.wav", tone(LONG_S)[None])


@pytest.mark.parametrize(("name", "options"), CONTAINERS, ids=lambda value: str(value)[:13])
def test_the_sound_of_a_container(
    wav: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    path = convert(wav, tmp_path / name, *options)
    found = audio.probe(path)
    sound = decode_all(path)
    assert found.duration_s == pytest.approx(LONG_S, abs=0.1)
    assert sound.shape[1] / RATE_HZ == pytest.approx(found.duration_s, abs=0.1)
    assert level_db(sound) == pytest.approx(0, abs=6.0 if name == "call.amr" else 1.0)
    file_type = name.rpartition(".")[2]
    assert file_type in found.file_types or name == "webm.ogg"


@pytest.mark.parametrize("name", ["opus.webm", "video.mkv", "sound.aiff"])
def test_half_of_a_file_is_refused(wav: Path, tmp_path: Path, name: str) -> None:
    path = convert(wav, tmp_path / name, *dict(CONTAINERS)[name])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioTruncated):
        audio.probe(path)


def test_a_recording_without_an_end_is_taken_as_it_is(wav: Path, tmp_path: Path) -> None:
    path = convert(wav, tmp_path / "recorded.webm", *dict(CONTAINERS)["recorded.webm"])
    assert not audio.probe(path).says_its_end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < audio.probe(path).duration_s < LONG_S
