"""A video that nobody waits for is not made."""

from pathlib import Path

import pytest

from bench.players import song_of
from studio import audio
from studio.karaoke.fonts import Fonts
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
