"""What becomes a video, and what does not."""

import os
import resource
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.players import song_of
from studio import audio
from studio.errors import FontMissing, InvalidOption
from studio.karaoke.fonts import LETTERS, Fonts
from studio.karaoke.options import parse_video
from studio.karaoke.screen import Screen
from studio.karaoke.video import place_fonts
from studio.storage.on_demand import Abandoned
from studio.transcription.languages import LANGUAGES
from tests.support.sounds import decode_all, ffmpeg_children, noise, tone, write_wav


def test_a_canceled_video_leaves_no_process(tmp_path: Path) -> None:
    fonts = Fonts.for_text("", None, None)
    (tmp_path / audio.SCRIPT).write_text(Screen(320, 180, fonts).script([], []), "utf-8")
    place_fonts(fonts, tmp_path)
    song = song_of(write_wav(tmp_path / "song.wav", noise(20.0), subtype="FLOAT"), 20.0)
    frame = audio.Frame(320, 180, "000000")
    before = ffmpeg_children()

    def leave() -> None:
        assert len(ffmpeg_children()) > len(before)
        raise Abandoned

    with pytest.raises(Abandoned):
        audio.write_video(tmp_path / "video.mp4", tmp_path, frame, audio.Mix(), song, on_wait=leave)
    assert ffmpeg_children() == before


def test_the_largest_video_on_many_cores_stays_far_below_its_memory_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that is reached on machines with more cores would end it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    fonts = Fonts.for_text("", None, None)
    (tmp_path / audio.SCRIPT).write_text(Screen(1920, 1080, fonts).script([], []), "utf-8")
    place_fonts(fonts, tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    (tmp_path / audio.PICTURE).write_bytes(b"P6 1920 1080 255\n" + picture.tobytes())
    song = song_of(write_wav(tmp_path / "song.wav", noise(3.0), subtype="FLOAT"), 3.0)
    used_bytes, limit_bytes = [0], [0]

    def watch() -> None:
        for pid in ffmpeg_children():
            # It may end at any moment.
            with suppress(psutil.Error):
                used_bytes.append(psutil.Process(pid).memory_info().data)
                limit_bytes.append(resource.prlimit(pid, resource.RLIMIT_DATA)[0])

    target, frame = tmp_path / "video.mp4", audio.Frame(1920, 1080, "000000")
    audio.write_video(target, tmp_path, frame, audio.Mix(), song, on_wait=watch)
    assert 0.25 * max(limit_bytes) < max(used_bytes) < 0.6 * max(limit_bytes)


def peak_of_video(folder: Path, is_peak_safe: bool) -> float:
    fonts = Fonts.for_text("", None, None)
    (folder / audio.SCRIPT).write_text(Screen(320, 180, fonts).script([], []), "utf-8")
    place_fonts(fonts, folder)
    loud = np.stack([3 * tone(2.0)] * 2)
    song = song_of(write_wav(folder / "song.wav", loud, subtype="FLOAT"), 2.0)
    mix, video = audio.Mix(is_peak_safe=is_peak_safe), folder / "video.mp4"
    frame = audio.Frame(320, 180, "000000")
    audio.write_video(video, folder, frame, mix, song, on_wait=lambda: None)
    return float(np.abs(decode_all(video)).max())


def test_peaks_of_a_video_are_limited_if_wanted(tmp_path: Path) -> None:
    for name in ("raw", "safe"):
        (tmp_path / name).mkdir()
    assert peak_of_video(tmp_path / "raw", False) > 1.3
    assert peak_of_video(tmp_path / "safe", True) < 1.1


def test_scripts_that_need_a_font_have_none_among_the_bundled_ones() -> None:
    assert set(LETTERS) <= LANGUAGES
    for letter in LETTERS.values():
        with pytest.raises(FontMissing, match=letter):
            Fonts.for_text(letter, None, None)


def test_a_title_may_have_joined_letters_and_emoji() -> None:
    title = "می\u200cخواهم 👩\u200d🎤"
    assert parse_video({"title": title}, ["vocals"]).title == title
    for broken in ("a\nb", "a\u2028b", "a\x7f", "\udce9"):
        with pytest.raises(InvalidOption, match="without line breaks or control characters"):
            parse_video({"title": broken}, ["vocals"])
