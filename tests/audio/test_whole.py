"""Whole recordings whose container tells another length than their sound: taken, at their times."""

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio import audio
from studio.audio import mp4
from studio.audio.timeline import PacketClock
from studio.errors import AudioTruncated, NotAudio, StudioError
from tests.support.hostile_files import box, find_box
from tests.support.odd_recordings import (
    FRAGMENTS,
    LATE,
    LATE_S,
    SOUND_S,
    WHOLE,
    encode,
    moved,
    with_pages,
)
from tests.support.sounds import RATE_HZ, convert, decode_all, noise, write_wav


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a name in WHOLE, which is made once."""

    @cache
    def make(name: str) -> Path:
        return WHOLE[name][0](tmp_path_factory.mktemp("whole"))

    return make


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_recording_is_taken_at_its_times(made: Callable[[str], Path], name: str) -> None:
    _, length_s, off_s = WHOLE[name]
    path = made(name)
    found = audio.probe(path)
    sound = decode_all(path)
    assert found.says_its_end
    assert found.duration_s == pytest.approx(length_s, abs=off_s)
    assert sound.shape[1] / RATE_HZ == pytest.approx(found.duration_s, abs=2e-3)
    mono = decode_all(path, 16_000, 1)
    assert mono.shape[1] / 16_000 == pytest.approx(found.duration_s, abs=2e-3)
    loud = np.flatnonzero(np.abs(sound[0]) > 0.1)
    if name in LATE:
        assert loud[0] / RATE_HZ == pytest.approx(LATE[name], abs=0.1)
        assert not sound[:, : round((LATE[name] - 0.1) * RATE_HZ)].any()
    elif "FLAC" not in name:
        assert loud[0] < 0.05 * RATE_HZ
    assert loud[-1] / RATE_HZ == pytest.approx(length_s, abs=0.06)


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_lost_of_what_another_ffmpeg_decodes(
    made: Callable[[str], Path], name: str
) -> None:
    other = shutil.which("ffmpeg")
    if other is None:
        pytest.skip("no second ffmpeg is installed (apt-get install ffmpeg)")
    path = made(name)
    for binary in (other, audio.ffmpeg_path()):
        command = [binary, "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1"]
        done = subprocess.run(
            [*command, "-ar", "8000", "-f", "u8", "-"], capture_output=True, check=True
        )
        assert audio.probe(path).duration_s > len(done.stdout) / 8000 - 0.06


def test_a_gap_is_silence_where_nothing_was_sent(made: Callable[[str], Path]) -> None:
    sound = decode_all(made("Opus with a gap"))[0]
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    pauses = np.diff(loud)
    assert pauses.max() / RATE_HZ == pytest.approx(3.0, abs=0.02)
    assert loud[pauses.argmax()] / RATE_HZ == pytest.approx(1.04, abs=0.03)


@pytest.mark.parametrize(
    ("ending", "options"),
    [("mka", ("-c:a", "libopus")), ("mp4", ("-c:a", "aac"))],
    ids=["coarse ticks", "fine ticks"],
)
def test_small_gaps_add_up(tmp_path: Path, ending: str, options: tuple[str, ...]) -> None:
    """Every tenth packet is missing, in a file that is measured by its packets."""
    length_s = 62.0
    wav = write_wav(tmp_path / "noise.wav", noise(length_s, 1, 16_000), 16_000)
    whole = convert(wav, tmp_path / f"whole.{ending}", *options)
    drop = ("-c", "copy", "-bsf:a", "noise=drop='eq(mod(n,10),9)'")
    path = convert(whole, tmp_path / f"gaps.{ending}", *drop)
    decoded_s = decode_all(path, 8000, 1).shape[1] / 8000
    assert decoded_s == pytest.approx(length_s, abs=0.15)
    assert audio.probe(path).duration_s == pytest.approx(length_s, abs=0.15)


def test_small_gaps_between_packets_are_measured() -> None:
    """As decoding fills them: whenever they add up to a tenth of a second."""
    clock = PacketClock(1 / 48_000)
    for packet in range(100):
        if packet % 10 != 9:
            clock.add(960 * packet, 960)
    assert clock.length_s == pytest.approx(1.98, abs=0.1)


def test_the_rounding_of_time_stamps_adds_nothing() -> None:
    clock = PacketClock(1 / 48_000)
    for packet in range(10_000):
        clock.add(960 * packet + 400 * (packet % 3 - 1), 960)
    assert clock.length_s == pytest.approx(200.0, abs=0.01)


@pytest.mark.parametrize("name", ["a late M4A", "Vorbis with a gap"])
def test_the_blocks_of_such_a_recording_are_even(made: Callable[[str], Path], name: str) -> None:
    blocks = list(audio.decode(made(name), RATE_HZ, 2))
    assert {block.shape for block in blocks[:-1]} == {(2, audio.BLOCK_SAMPLES)}


def test_a_long_gap_of_many_channels_fits_into_the_memory(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "many.wav", noise(2.0, 8, 192_000), 192_000)
    options = ("-c:a", "libvorbis", "-page_duration", "250000")
    path = convert(wav, tmp_path / "many.ogg", *options)
    with_pages(path, lambda pages: moved(pages, 59 * 192_000, 3))
    assert audio.probe(path).duration_s == pytest.approx(61.0, abs=0.5)
    assert decode_all(path).shape[1] / RATE_HZ == pytest.approx(61.0, abs=0.5)


@pytest.mark.parametrize("late_s", [0.0, LATE_S])
def test_a_long_recording_is_measured_by_its_sound(tmp_path: Path, late_s: float) -> None:
    """Beyond the first minute, of which the end is known and not decoded."""
    wav = write_wav(tmp_path / "song.wav", noise(65.0, 1, 8000), 8000)
    options = ["-i", str(wav), "-f", "lavfi", "-i", "testsrc=duration=90:size=16x16:rate=1"]
    command = [audio.ffmpeg_path(), "-v", "error", "-itsoffset", str(late_s), *options]
    path = tmp_path / "video.m4a"
    subprocess.run([*command, "-c:v", "mpeg4", "-f", "mp4", str(path)], check=True)
    assert audio.probe(path).duration_s == pytest.approx(65.0 + late_s, abs=0.3)
    opus = with_pages(
        convert(wav, tmp_path / "o.ogg", "-c:a", "libopus"),
        lambda pages: moved(moved(pages, 40 * 48_000, 5), round(late_s * 48_000)),
    )
    assert audio.probe(opus).duration_s == pytest.approx(105.0 + late_s, abs=0.1)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a longer video", "a late M4A", "fragments", "late Opus"])
def test_what_is_cut_off_is_still_refused(
    made: Callable[[str], Path], tmp_path: Path, name: str, share: float
) -> None:
    path = made(name)
    for options in ([], ["-movflags", "+faststart"]):
        whole = convert(path, tmp_path / f"whole{path.suffix}", "-map", "0", "-c", "copy", *options)
        cut = tmp_path / "cut"
        content = (path if name == "fragments" else whole).read_bytes()
        cut.write_bytes(content[: round(share * len(content))])
        # Of an Ogg so little may be left that no sound is found in it.
        with pytest.raises(NotAudio if path.suffix == ".ogg" and share < 0.5 else AudioTruncated):
            audio.probe(cut)


def test_a_box_without_a_length_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path, "open.m4a", "-movflags", "+faststart")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") - 4
    content[start : start + 4] = bytes(4)
    path.write_bytes(content)
    assert audio.probe(path).duration_s == pytest.approx(SOUND_S, abs=0.05)
    path.write_bytes(content[: start + 100])
    with pytest.raises(StudioError):
        audio.probe(path)


@pytest.mark.parametrize(
    "tail",
    [
        struct.pack(">I4s", 5, b"moov") + bytes(100),
        struct.pack(">I4s", 7, b"moov") + bytes(100),
        struct.pack(">I4sQ", 1, b"free", 2**64 - 1) + bytes(100),
    ],
    ids=["length 5", "length 7", "endless"],
)
def test_a_tail_that_is_no_box_is_not_read(tmp_path: Path, tail: bytes) -> None:
    path = encode(tmp_path, "song.m4a")
    found, index = audio.probe(path), mp4.Layout(path).index
    path.write_bytes(path.read_bytes() + tail)
    assert mp4.Layout(path).index == index
    assert audio.probe(path) == found


def test_a_flac_that_goes_on_in_another_format_is_not_half_taken(tmp_path: Path) -> None:
    """FLAC knows no chains, and ffmpeg only reports the frames that it leaves out."""
    whole = encode(tmp_path, "one.flac", "-ac", "1").read_bytes()
    other = encode(tmp_path, "two.flac", "-ar", "48000").read_bytes()
    path = tmp_path / "both.flac"
    path.write_bytes(whole + other)
    with pytest.raises(NotAudio, match="damaged"):
        audio.probe(path)


def test_an_mp3_with_many_damaged_packets_is_refused(tmp_path: Path) -> None:
    """Its time stamps are those of its packets: what is missing is not a pause."""
    wav = write_wav(tmp_path / "noise.wav", noise(5.0))
    path = convert(wav, tmp_path / "song.mp3", "-b:a", "128k")
    content = bytearray(path.read_bytes())
    duration_s = audio.probe(path).duration_s
    starts = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xfb"]
    for start in starts[3::3]:
        content[start + 4 : start + 400] = np.random.default_rng(start).bytes(396)
    path.write_bytes(content)
    with pytest.raises(AudioTruncated):
        audio.probe(path)
    with pytest.raises(NotAudio, match="damaged"):
        list(audio.decode(path, RATE_HZ, 2, duration_s))


def test_a_job_that_loses_sound_fails(tmp_path: Path) -> None:
    """What was damaged after the upload, or beyond the first minute."""
    path = encode(tmp_path, "song.m4a", "-b:a", "128k")
    content = bytearray(path.read_bytes())
    start, end = find_box(bytes(content), b"mdat")
    duration_s = audio.probe(path).duration_s
    middle = slice(start + (end - start) // 4, start + (end - start) // 2)
    content[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    path.write_bytes(content)
    samples = 0
    with pytest.raises(NotAudio, match="damaged"):
        for block in audio.decode(path, RATE_HZ, 2, duration_s):
            samples += block.shape[1]
    assert samples > 0


def bw64(folder: Path) -> bytes:
    path = convert(write_wav(folder / "s.wav", noise(1.0)), folder / "rf64.wav", "-rf64", "always")
    return b"BW64" + path.read_bytes()[4:]


def by_libsndfile(folder: Path, container: str, endian: str = "FILE") -> bytes:
    path = folder / "made"
    soundfile.write(str(path), noise(1.0).T, RATE_HZ, "PCM_16", endian, container)
    return path.read_bytes()


WAVES: dict[str, Callable[[Path], bytes]] = {
    "W64 of libsndfile": lambda folder: by_libsndfile(folder, "W64"),
    "W64 of ffmpeg": lambda folder: convert(
        write_wav(folder / "s.wav", noise(1.0)), folder / "s.w64"
    ).read_bytes(),
    "BW64": bw64,
    "RF64": lambda folder: by_libsndfile(folder, "RF64"),
    "RIFX": lambda folder: by_libsndfile(folder, "WAV", "BIG"),
}


@pytest.mark.parametrize("name", WAVES)
def test_the_end_of_each_kind_of_wave_is_known(tmp_path: Path, name: str) -> None:
    content = WAVES[name](tmp_path)
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    found = audio.probe(path)
    assert found.says_its_end
    assert found.duration_s == pytest.approx(1.0, abs=1e-3)
    for share in (0.3, 0.7):
        path.write_bytes(content[: round(len(content) * share)])
        with pytest.raises(AudioTruncated):
            audio.probe(path)


def test_a_fragmented_file_without_an_index_does_not_hide_a_cut(tmp_path: Path) -> None:
    content = encode(tmp_path, "parts.m4a", *FRAGMENTS).read_bytes()
    first = content.rindex(b"moof") - 4
    path = tmp_path / "cut.m4a"
    path.write_bytes(content[:first])
    assert audio.probe(path).duration_s < SOUND_S
    path.write_bytes(content[:first] + box(b"free", bytes(10)))
    assert re.fullmatch(r"mov,.*", audio.probe(path).container)
