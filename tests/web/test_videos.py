"""Karaoke videos: made on demand, kept, and sent as files."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from studio import audio
from studio.karaoke.video import MAX_KEPT
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import convert, decode_all, noise, write_wav

SMALL = "size=160x160"
WORDS = ("Sing", " with", " me")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds with tags and a red cover."""
    folder = tmp_path_factory.mktemp("song")
    cover = folder / "cover.png"
    command = [audio.ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "color=c=red:s=100x100"]
    subprocess.run([*command, "-frames:v", "1", str(cover)], check=True)
    options = ["-i", str(cover), "-metadata", "title=Ünï", "-metadata", "artist=Ann"]
    options += ["-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic"]
    return convert(write_wav(folder / "plain.wav", noise(3.0)), folder / "Lied 春.flac", *options)


@pytest.fixture(scope="module")
def done(live_server: Server, song: Path) -> str:
    """The song after one job, with words that are known."""
    file_id = live_server.upload(song)
    live_server.process(file_id, "whisper", source="vocals")
    assert live_server.wait(file_id)["status"] == "completed"
    edit(live_server, file_id, WORDS)
    return file_id


def edit(server: Server, file_id: str, words: tuple[str, ...], **segment: Any) -> None:
    """Replace the transcript by a segment of words of 0.5 s each, from the first second on."""
    timed = [
        {"text": text, "start_s": 1 + number / 2, "end_s": 1.5 + number / 2}
        for number, text in enumerate(words)
    ]
    times = {"start_s": 1.0, "end_s": 1 + len(words) / 2}
    whole = {**times, "text": "".join(words), "words": timed, **segment}
    server.edit(file_id, [whole] if words else [])


def video(server: Server, file_id: str, query: str = SMALL, **more: Any) -> requests.Response:
    return server.get(f"/download/{file_id}/karaoke.mp4?{query}", **more)


def kept(server: Server, file_id: str) -> list[str]:
    return [path.name for path in (server.outputs / file_id).rglob("video.mp4")]


def test_a_video_has_the_instrumental_and_the_tags(
    live_server: Server, done: str, tmp_path: Path
) -> None:
    answer = video(live_server, done, "size=320x180")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "video/mp4"
    assert "karaoke.mp4" in answer.headers["Content-Disposition"]
    file = tmp_path / "video.mp4"
    file.write_bytes(answer.content)
    assert audio.probe(file).duration_s == pytest.approx(3.0, abs=0.05)
    tags = audio.read_tags(file)
    assert (tags.title, tags.artist) == ("Ünï", "Ann")
    # The index is at the beginning, so that players can start before the end has arrived.
    assert answer.content.index(b"moov") < answer.content.index(b"mdat")
    instrumental = tmp_path / "instrumental.wav"
    instrumental.write_bytes(live_server.get(f"/download/{done}/instrumental?format=wav").content)
    heard, wanted = decode_all(file)[0], decode_all(instrumental)[0]
    length = min(len(heard), len(wanted))
    assert np.corrcoef(heard[:length], wanted[:length])[0, 1] > 0.9


def test_a_video_is_made_once_and_sent_in_parts(live_server: Server, done: str) -> None:
    whole = video(live_server, done)
    again = video(live_server, done, "background=101828&vocals=0&key=0&tempo=1.0&" + SMALL)
    assert again.headers["ETag"] == whole.headers["ETag"]
    part = video(live_server, done, headers={"Range": "bytes=100-299"})
    assert part.status_code == 206 and part.content == whole.content[100:300]
    same = video(live_server, done, headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304


def test_key_tempo_and_levels(live_server: Server, done: str, tmp_path: Path) -> None:
    answer = video(live_server, done, f"{SMALL}&tempo=0.75&key=-2&vocals=-6dB&title=Mine")
    file = tmp_path / "video.mp4"
    file.write_bytes(answer.content)
    assert audio.probe(file).duration_s == pytest.approx(4.0, abs=0.05)
    assert audio.read_tags(file).title == "Mine"


def sung_pixels(file: Path, at_s: float) -> int:
    """The pixels in the colour of sung words."""
    command = [audio.ffmpeg_path(), "-v", "error", "-ss", str(at_s), "-i", str(file)]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    shot = subprocess.run(command, capture_output=True, check=True)
    red, green, blue = np.frombuffer(shot.stdout, np.uint8).reshape(-1, 3).T
    return int(((red > 200) & (green > 160) & (blue < 100)).sum())


@pytest.mark.parametrize(
    ("query", "before_s", "after_s"),
    [("offset_ms=-700", 0.2, 0.7), ("offset_ms=500&tempo=2", 0.6, 1.0)],
)
def test_words_are_shown_later_or_earlier(
    live_server: Server, done: str, tmp_path: Path, query: str, before_s: float, after_s: float
) -> None:
    """The first word begins at 1 s."""
    file = tmp_path / "video.mp4"
    file.write_bytes(video(live_server, done, f"size=640x360&title=&{query}").content)
    assert sung_pixels(file, before_s) == 0
    assert sung_pixels(file, after_s) > 50


def words(server: Server, file_id: str, file_format: str, offset_ms: int) -> requests.Response:
    query = f"format={file_format}&offset_ms={offset_ms}"
    return server.get(f"/download/{file_id}/transcription?{query}")


@pytest.mark.parametrize(
    ("file_format", "offset_ms", "start"),
    [
        ("srt", 50, "00:00:01,050 -->"),
        ("vtt", -700, "00:00.300 -->"),
        ("tsv", -50, "950\t"),
        ("lrc", 50, "[00:01.05]"),
        ("plain.lrc", -1500, "[00:00.00]"),
        ("ass", 2000, "Dialogue: 0,0:00:03.00,"),
        ("ultrastar.txt", 500, "F 60 20 "),
        ("json", 50, '"start_s": 1.05'),
        ("lrc", 0, "[00:01.00]"),
    ],
)
def test_transcripts_have_the_offset(
    live_server: Server, done: str, file_format: str, offset_ms: int, start: str
) -> None:
    """The first word begins at 1 s."""
    answer = words(live_server, done, file_format, offset_ms)
    assert answer.ok and start in answer.text, answer.text
    plain = live_server.get(f"/download/{done}/transcription?format={file_format}")
    assert (plain.text == answer.text) == (offset_ms == 0)


def test_the_latest_offsets_are_kept_until_an_edit(live_server: Server, done: str) -> None:
    for offset_ms in (100, 150, 200, 250):
        assert words(live_server, done, "lrc", offset_ms).ok
    delayed = [path.parent.name for path in (live_server.outputs / done).rglob("delayed/*/*.lrc")]
    assert sorted(delayed) == ["150", "200", "250"]
    edit(live_server, done, ("Later", " words"))
    assert "Later" in words(live_server, done, "lrc", 250).text
    edit(live_server, done, WORDS)


@pytest.mark.parametrize(
    ("track", "offset_ms", "message"),
    [
        ("transcription", "2001", "between -2000 and 2000"),
        ("transcription", "", "whole number"),
        ("vocals", "50", "'vocals', which has no words"),
    ],
)
def test_offsets_are_checked(
    live_server: Server, done: str, track: str, offset_ms: str, message: str
) -> None:
    answer = live_server.get(f"/download/{done}/{track}?offset_ms={offset_ms}")
    problem = assert_problem(answer, "invalid_option")
    assert message in problem["error"] and "offset_ms" in problem["error"]


def test_the_cover_is_the_background(live_server: Server, done: str, tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    file.write_bytes(video(live_server, done, f"{SMALL}&background=cover&title=").content)
    command = [audio.ffmpeg_path(), "-v", "error", "-ss", "2.9", "-i", str(file), "-frames:v", "1"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    shot = subprocess.run(command, capture_output=True, check=True)
    corner = shot.stdout[:3]
    assert corner[0] > 100 and max(corner[1:]) < 60


def test_only_the_latest_videos_are_kept(live_server: Server, done: str) -> None:
    for number in range(MAX_KEPT + 1):
        assert video(live_server, done, f"{SMALL}&background=0000{number:02d}").ok
    assert len(kept(live_server, done)) == MAX_KEPT


def test_an_edited_transcript_gets_a_new_video(live_server: Server, done: str) -> None:
    before = video(live_server, done)
    edit(live_server, done, ("Other", " words"))
    after = video(live_server, done)
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.content != before.content
    assert len(kept(live_server, done)) == 1
    edit(live_server, done, ("你好",))
    problem = assert_problem(video(live_server, done), "font_missing")
    assert "你好" in problem["error"] and "FONTS_DIR" in problem["error"]
    edit(live_server, done, ())
    assert_problem(video(live_server, done), "not_ready")
    edit(live_server, done, WORDS, placed=False)
    assert_problem(video(live_server, done), "not_ready")
    edit(live_server, done, WORDS)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("size=0x0", "`size` is '0x0'"),
        ("size=1281x720", "even numbers"),
        ("size=1920x1920", "2,073,600 in all"),
        ("background=red", "six hexadecimal digits"),
        ("title=" + "x" * 121, "121 characters"),
        ("title=a%0Ab", "without line breaks"),
        ("vocals=3", "between 0 and 2"),
        ("tempo=9", "between 0.5 and 2"),
        ("offset_ms=-2001", "between -2000 and 2000"),
        ("offset_ms=1.5", "whole number"),
    ],
)
def test_wrong_options_are_named(live_server: Server, done: str, query: str, named: str) -> None:
    problem = assert_problem(video(live_server, done, query), "invalid_option")
    assert named in problem["error"]


def test_what_is_missing_is_named(live_server: Server, song: Path) -> None:
    file_id = live_server.upload(song)
    problem = assert_problem(video(live_server, file_id), "not_ready")
    assert "words" in problem["error"] and f"/process/whisper/{file_id}" in problem["error"]
    live_server.process(file_id, "whisper")
    live_server.wait(file_id)
    problem = assert_problem(video(live_server, file_id), "not_ready")
    assert "vocals are not separated" in problem["error"]


def test_unknown_parameters_are_named(live_server: Server, done: str) -> None:
    problem = assert_problem(video(live_server, done, "dance=1"), "unknown_option")
    assert "vocals.pan, size, title, background, offset_ms" in problem["error"]
