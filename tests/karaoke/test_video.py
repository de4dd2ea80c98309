"""What becomes a video, and what does not."""

from pathlib import Path

import numpy as np
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
