"""What becomes a video, and what does not."""

from pathlib import Path

import pytest

from bench.players import song_of
from studio import audio
from studio.errors import InvalidOption
from studio.karaoke.fonts import Fonts
from studio.karaoke.options import parse_video
from studio.karaoke.screen import Screen
from studio.karaoke.video import place_fonts
from studio.storage.on_demand import Abandoned
from tests.support.server import ffmpeg_children, noise, write_wav


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


def test_a_title_may_have_joined_letters_and_emoji() -> None:
    title = "می\u200cخواهم 👩\u200d🎤"
    assert parse_video({"title": title}, ["vocals"]).title == title
    for broken in ("a\nb", "a\u2028b", "a\x7f", "\udce9"):
        with pytest.raises(InvalidOption, match="without line breaks or control characters"):
            parse_video({"title": broken}, ["vocals"])
