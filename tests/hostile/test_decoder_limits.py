"""What a running ffmpeg may use: little memory, little time, no disk, no secrets of the server."""

import resource
from pathlib import Path

import numpy as np
import psutil
import pytest

from studio import audio
from studio.audio import child as guarded
from studio.audio.child import RECORDING, Child
from studio.audio.report import Report
from studio.errors import NotAudio
from tests.support.sounds import RATE_HZ, convert, ffmpeg_children, noise, write_wav

ENDLESS = ["-f", "lavfi", "-i", "anullsrc=r=48000", "-f", "null", "-"]


@pytest.fixture(autouse=True)
def nothing_is_left() -> object:
    yield
    assert ffmpeg_children() == []


def running() -> psutil.Process:
    """The one ffmpeg that runs."""
    (pid,) = ffmpeg_children()
    return psutil.Process(pid)


def limit(kind: int) -> tuple[int, int]:
    return resource.prlimit(running().pid, kind)


def test_the_limits_of_a_child_are_set() -> None:
    with Child(ENDLESS, None):
        assert limit(resource.RLIMIT_DATA) == (guarded.MEMORY_BYTES,) * 2
        assert limit(resource.RLIMIT_FSIZE) == (0, 0)
        assert limit(resource.RLIMIT_CORE) == (0, 0)
        assert limit(resource.RLIMIT_CPU)[0] == guarded.START_CPU_S


def test_a_child_that_uses_the_processor_without_end_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded, "START_CPU_S", 1.0)
    with Child(ENDLESS, None) as one:
        assert one.receive(is_live=True) == b""
        with pytest.raises(NotAudio, match="took too long"):
            one.wait()


def test_a_child_that_keeps_its_reader_waiting_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a recording that nobody sends."""
    monkeypatch.setattr(guarded, "START_WAIT_S", 0.5)
    with Child([*RECORDING, "-f", "f32le", "pipe:1"], None) as one:
        with pytest.raises(NotAudio, match="took too long"):
            while one.receive():
                pass
        assert running().is_running()


def test_a_child_that_reads_no_more_does_not_hold_its_sender() -> None:
    with Child(ENDLESS, None) as one:
        with pytest.raises(BrokenPipeError):
            one.send(bytes(1 << 20), patience_s=0.5)
        assert running().is_running()


def test_the_processor_time_grows_with_the_sound() -> None:
    with Child(ENDLESS, None) as one:
        one.allow(3600.0)
        max_s, _ = limit(resource.RLIMIT_CPU)
        assert max_s == guarded.START_CPU_S + 3600 * guarded.CPU_PER_SOUND
        one.allow(10.0)
        assert limit(resource.RLIMIT_CPU)[0] == max_s


def test_a_long_recording_is_decoded_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes more processor time than a child has at its start."""
    minute = write_wav(tmp_path / "minute.wav", noise(60.0, 1, 8000), 8000)
    path = convert(minute, tmp_path / "long.flac", "-filter_complex", "aloop=29:480000")
    monkeypatch.setattr(guarded, "START_CPU_S", 0.5)
    before_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples = sum(block.shape[1] for block in audio.decode(path, 96_000, 2, 1800.0))
    after_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert samples == 1800 * 96_000
    assert after_s.ru_utime - before_s.ru_utime > 1.0


def test_a_live_recording_gets_time_with_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = write_wav(tmp_path / "voice.wav", noise(30.0, 1, 16_000), 16_000)
    recorded = convert(wav, tmp_path / "voice.webm", "-c:a", "libopus").read_bytes()
    monkeypatch.setattr(guarded, "CPU_PER_SOUND", 10.0)
    decoder = audio.StreamDecoder("matroska", 16_000)
    sound = decoder.feed(recorded)
    while len(sound) < 20 * 16_000:
        sound = np.concatenate([sound, decoder.feed(b"")])
    assert limit(resource.RLIMIT_CPU)[0] >= 10 * 20
    decoder.finish()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound without end is gathered to be turned round, for as long as that takes."""
    monkeypatch.setattr(guarded, "START_CPU_S", 600.0)
    monkeypatch.setattr(guarded, "START_WAIT_S", 600.0)
    gathered = ["-f", "lavfi", "-i", "anoisesrc=r=192000,areverse", "-f", "null", "-"]
    with Child(gathered, None) as one:
        while one.receive():
            pass
        assert not one.wait()
        assert one.report.says("Cannot allocate memory")


def test_nothing_is_written_to_the_disk(tmp_path: Path) -> None:
    target = tmp_path / "out.raw"
    # In real time, so that the limit is set before the first samples.
    source = ["-re", "-f", "lavfi", "-i", "anullsrc", "-t", "9"]
    with Child([*source, "-f", "u8", str(target)], None) as one:
        while one.receive():
            pass
        assert not one.wait()
    assert target.stat().st_size == 0


def test_more_sound_than_was_found_is_not_decoded(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "song.wav", noise(30.0, 1, 8000), 8000)
    samples = 0
    with pytest.raises(NotAudio, match=r"measured at 10\.0 s"):
        for block in audio.decode(path, RATE_HZ, 2, 10.0):
            samples += block.shape[1]
    assert samples <= 13 * RATE_HZ


def test_a_child_knows_neither_the_path_nor_the_secrets_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "very secret")
    path = write_wav(tmp_path / "private.wav", noise(60.0))
    with Child([*RECORDING, "-f", "f32le", "pipe:1"], path) as one:
        assert one.receive() != b""
        process = running()
        assert process.environ() == guarded.ENVIRONMENT
        assert "private" not in " ".join(process.cmdline())
        assert {file.path for file in process.open_files()} == {str(path)}


def test_tags_are_not_kept() -> None:
    """Of 10 MB of what ffmpeg says about tags nothing stays; endless ones are refused."""
    report = Report()
    report.hear(b"Input #0, mp3, from 'fd:':\n  Metadata:\n")
    for _ in range(100):
        report.hear(b"    title: " + b"x" * 100_000)
        report.hear(b"\n        : Stream #0:0: Audio: mp3, 1 Hz, mono\n")
    report.hear(b"  Stream #0:0: Audio: mp3 (mp3float), 44100 Hz, stereo, fltp, 64 kb/s\n")
    assert len(report.lines) == 3
    with pytest.raises(NotAudio, match="tags"):
        for _ in range(100):
            report.hear((b"    comment: " + b"x" * 4000 + b"\n") * 1000)
