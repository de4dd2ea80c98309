"""What videos show: pixels of frames that libass has drawn, in several scripts."""

import subprocess
from itertools import pairwise
from pathlib import Path

import cvttf_NotoSansCJK_Regular
import numpy as np
import numpy.typing as npt
import pytest
from pymupdf_fonts import FiraGO_Bold

from studio import audio
from studio.audio.child import ENVIRONMENT
from studio.audio.lyrics import LyricLine, LyricWord
from studio.errors import FontMissing
from studio.karaoke.fonts import Fonts
from studio.karaoke.screen import Screen, shown_lines
from studio.karaoke.video import place_fonts

WIDTH, HEIGHT, CHARACTER = 640, 360, 24
CJK = Path(cvttf_NotoSansCJK_Regular.get_TTF_path()).parent
SONGS = {
    "latin": ("Sing", " über", " мир"),
    "hebrew": ("שלום", " עולם", " היפה"),
    "arabic": ("مرحبا", " بالعالم", " الجميل"),
    "chinese": ("你好", "世界", "音乐"),
    "japanese": ("こんにちは", "世界", "カラオケ"),
    "thai": ("สวัสดี", "ชาวโลก", "ที่น้ำ"),
}
FROM_RIGHT = ("hebrew", "arabic")
Image = npt.NDArray[np.uint8]


def line_of(words: tuple[str, ...], start_s: float = 1.0) -> LyricLine:
    """Words of a second each."""
    timed = (
        LyricWord(text, start_s + number, start_s + number + 1) for number, text in enumerate(words)
    )
    return LyricLine(tuple(timed), True)


def frames(
    folder: Path, lines: list[LyricLine], times_s: list[float], titles: list[str] | None = None
) -> list[Image]:
    """Frames of a video, uint8 (height, width, 3), at certain times."""
    texts = [line.text for line in lines] + (titles or [])
    fonts = Fonts.for_text("".join(texts), CJK, None)
    script = Screen(WIDTH, HEIGHT, fonts).script(lines, titles or [])
    (folder / audio.SCRIPT).write_text(script, "utf-8")
    place_fonts(fonts, folder)
    wanted = "+".join(f"eq(n\\,{round(25 * time_s)})" for time_s in times_s)
    command = [audio.ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i"]
    command += [f"color=c=0x101828:s={WIDTH}x{HEIGHT}:r=25:d={max(times_s) + 1}"]
    command += ["-vf", f"ass=filename={audio.SCRIPT}:fontsdir={audio.FONTS},select={wanted}"]
    command += ["-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, env=ENVIRONMENT)
    return list(np.frombuffer(done.stdout, np.uint8).reshape(len(times_s), HEIGHT, WIDTH, 3))


def sung(frame: Image) -> npt.NDArray[np.bool_]:
    """The pixels in the colour of sung words: yellow."""
    red, green, blue = (frame[..., number].astype(int) for number in range(3))
    return np.asarray((red > 180) & (green > 150) & (blue < 90))


def unsung(frame: Image) -> npt.NDArray[np.bool_]:
    """The white pixels."""
    return np.asarray(frame.min(axis=2) > 180)


@pytest.mark.parametrize("name", list(SONGS))
def test_words_are_swept_in_reading_direction(name: str, tmp_path: Path) -> None:
    """Before, in the middle and at the end of the second of three words."""
    before, early, late, end = frames(tmp_path, [line_of(SONGS[name])], [0.5, 2.1, 2.9, 4.2])
    assert not sung(before).any() and not unsung(end).any()
    columns = np.flatnonzero(unsung(before).any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    assert left > 0.02 * WIDTH and right < 0.98 * WIDTH
    shares = []
    for frame in (early, late):
        done = np.flatnonzero(sung(frame).any(axis=0))
        rest = np.flatnonzero(unsung(frame).any(axis=0))
        # The sung part is on one side of the rest; in Arabic, a part of a character may be.
        if name in FROM_RIGHT:
            assert done[0] >= rest[-1] - CHARACTER and done[-1] >= right - 2
        else:
            assert rest[0] >= done[-1] - CHARACTER and done[0] <= left + 2
        shares.append(len(done) / (len(done) + len(rest)))
    assert 0.15 < shares[0] < shares[1] < 0.85


def test_characters_without_a_font_are_an_error() -> None:
    with pytest.raises(FontMissing, match="'你好'"):
        Fonts.for_text("Hello 你好", None, "zh")
    with pytest.raises(FontMissing, match="FONTS_DIR"):
        Fonts.for_text("ខ្មែរ", CJK, "km")


def test_files_that_are_no_fonts_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "bold.ttf").write_bytes(FiraGO_Bold.fontbuffer[:300])
    (tmp_path / "folder.ttf").mkdir()
    (tmp_path / "gone.otf").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FontMissing, match=tmp_path.name):
        Fonts.for_text("你好", tmp_path, "zh")


def test_pictures_without_a_font_are_left_out() -> None:
    fonts = Fonts.for_text("Hi ♪ \U0001f3b5", None, "en")
    runs = fonts.runs("Hi ♪ \U0001f3b5")
    assert "".join(run.text for run in runs).rstrip() == "Hi ♪"
    assert [run.font.has(run.text) for run in runs] == [True] * len(runs)


def test_long_lines_fit_the_screen(tmp_path: Path) -> None:
    [frame] = frames(tmp_path, [line_of(("W" * 42,))], [0.5])
    columns = np.flatnonzero(unsung(frame).any(axis=0))
    assert columns[0] > 0 and columns[-1] < WIDTH - 1


def test_titles_are_shown_at_the_beginning(tmp_path: Path) -> None:
    titles = ["Song {x} of the Year", "Ann \\N B"]
    early, late = frames(tmp_path, [line_of(("La",), 8.0)], [1.0, 5.5], titles)
    assert unsung(early)[: HEIGHT // 2].any() and not unsung(early)[HEIGHT // 2 :].any()
    assert not unsung(late)[: HEIGHT // 2].any() and unsung(late)[HEIGHT // 2 :].any()


def test_lines_are_shown_ahead_in_two_places() -> None:
    lines = [line_of(("a",), start_s) for start_s in (1.0, 2.0, 3.0, 4.0, 20.0)]
    shown = list(shown_lines(lines))
    assert [one.place for one in shown] == [0, 1, 0, 1, 0]
    for one in shown:
        assert one.from_s <= one.line.start_s and one.to_s >= one.line.end_s
    for place in (0, 1):
        here = [one for one in shown if one.place == place]
        for before, after in pairwise(here):
            assert before.to_s <= after.from_s
    assert shown[4].from_s == 16.0


def test_a_line_without_word_times_is_highlighted_as_a_whole(tmp_path: Path) -> None:
    line = LyricLine(line_of(("Sing", " now")).words, has_times=False)
    before, after = frames(tmp_path, [line], [0.5, 1.2])
    assert not sung(before).any() and not unsung(after).any() and sung(after).any()
