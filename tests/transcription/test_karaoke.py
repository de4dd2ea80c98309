"""Karaoke formats, read back by other programs and by strict readers."""

import io
import json
import re
import subprocess
from pathlib import Path

import pysubs2
import pytest
import webvtt

from studio.audio import Tags, ffmpeg_path
from studio.transcription.formats import FORMATS, to_lrc, to_plain_lrc, to_srt, to_vtt
from studio.transcription.karaoke import to_ass, to_ultrastar
from studio.transcription.transcript import Segment, Transcript, Word
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.subtitles import (
    Note,
    read_lrc,
    read_srt,
    read_ultrastar,
    read_with_ffmpeg,
    swept,
)

WORDS = (
    Word(" Sing", 0.5, 1.0, 0.9),
    Word(" {it}", 1.25, 1.5, 0.9),
    Word(" A\\N", 1.5, 2.25, 0.9),
    Word("春", 2.25, 2.5, 0.9),
    Word("江", 2.5, 3.0, 0.9),
)
SONG = Transcript(
    "en",
    0.9,
    200.0,
    (
        Segment(0.5, 3.0, " Sing {it} A\\N春江", WORDS),
        Segment(59.0, 61.5, " & then <again>"),
    ),
)
TAGS = Tags("Ünï & 春", "Ann", "First", "song.mp3")


def test_words_are_swept_while_they_are_sung() -> None:
    assert swept(to_ass(SONG, TAGS)) == [
        (0.5, 1.0, "Sing"),
        (1.25, 1.5, "(it)"),
        (1.5, 2.25, "A\\\u2060N"),
        (2.25, 2.5, "春"),
        (2.5, 3.0, "江"),
    ]


def test_ass_has_the_title_and_its_cues() -> None:
    read = pysubs2.SSAFile.from_string(to_ass(SONG, TAGS), "ass")
    assert read.info["Title"] == TAGS.title
    assert read.info["PlayResX"] == "1280"
    assert [(event.start, event.end) for event in read] == [(500, 3000), (59_000, 61_500)]
    assert read[1].text == "& then <again>"
    assert "Title" not in pysubs2.SSAFile.from_string(to_ass(SONG), "ass").info


@pytest.mark.parametrize(("write", "kind"), [(to_ass, "ass"), (to_vtt, "webvtt"), (to_srt, "srt")])
def test_ffmpeg_reads_the_same_cues(write: object, kind: str) -> None:
    assert callable(write)
    shown = read_with_ffmpeg(write(SONG), kind)
    assert [(start_s, end_s) for start_s, end_s, _ in shown] == [(0.5, 3.0), (59.0, 61.5)]
    if kind != "srt":
        assert shown[1][2] == ["& then <again>"]


def test_libass_reads_all_events_and_commands(tmp_path: Path) -> None:
    (tmp_path / "song.ass").write_text(to_ass(SONG, TAGS), "utf-8")
    command = [ffmpeg_path(), "-v", "info", "-f", "lavfi", "-i", "color=s=64x36:r=1:d=62"]
    command += ["-vf", "ass=song.ass", "-f", "null", "-"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    # One style more than ours is that of libass.
    assert "'song.ass' (2 styles, 2 events)" in done.stderr
    assert not re.search(r"(?i)\[Parsed_ass.*(unable|error|invalid|unknown|bad)", done.stderr)


def test_webvtt_reads_the_same_cues() -> None:
    captions = list(webvtt.from_string(to_vtt(SONG)))
    assert [(one.start_in_seconds, one.end_in_seconds) for one in captions] == [(0, 3), (59, 61)]
    assert captions[0].text.replace("&amp;", "&") == "Sing {it} A\\N春江"
    assert "<00:00:01.250>{it}" in captions[0].raw_text


def test_lrc_has_tags() -> None:
    head = "[ti:Ünï & 春]\n[ar:Ann]\n[al:First]\n[length:03:20]\n[la:en]\n"
    assert to_lrc(SONG, TAGS).startswith(head)
    assert to_plain_lrc(SONG, TAGS).startswith(head)


def test_plain_lrc_has_line_times_only() -> None:
    assert read_lrc(to_plain_lrc(SONG)) == [
        ([0.5], "Sing {it} A\\N春江"),
        ([59.0], "& then <again>"),
    ]


def test_ultrastar_has_a_note_for_each_word() -> None:
    header, lines = read_ultrastar(to_ultrastar(SONG, TAGS))
    assert header == {
        "TITLE": "Ünï & 春",
        "ARTIST": "Ann",
        "MP3": "song.mp3",
        "LANGUAGE": "English",
        "BPM": "600",
        "GAP": "0",
    }
    assert lines == [
        [
            Note(0.5, 1.0, "Sing"),
            Note(1.25, 1.5, " {it}"),
            Note(1.5, 2.25, " A\\N"),
            Note(2.25, 2.5, "春"),
            Note(2.5, 3.0, "江"),
        ],
        [Note(59.0, 61.5, "& then <again>")],
    ]


def test_every_format_is_downloaded(speaker: Server, tmp_path: Path) -> None:
    """From a recording with tags, over HTTP."""
    sound = write_wav(tmp_path / "Ann - Song.wav", noise(1.0, channels=1))
    file_id = speaker.upload(sound)
    assert speaker.process(file_id, "whisper", vad=False).status_code == 202
    assert speaker.wait(file_id)["status"] == "completed"
    texts = {}
    for name in FORMATS:
        answer = speaker.get(f"/download/{file_id}/transcription?format={name}")
        assert answer.status_code == 200
        assert f"Ann - Song - transcription.{name}" in answer.headers["Content-Disposition"]
        texts[name] = answer.content.decode("utf-8")
    assert texts["lrc"].startswith("[ti:Song]\n[ar:Ann]\n")
    assert read_ultrastar(texts["ultrastar.txt"])[0]["TITLE"] == "Song"
    assert pysubs2.SSAFile.from_string(texts["ass"], "ass").info["Title"] == "Song"
    assert len(read_srt(texts["srt"])) == len(list(webvtt.from_buffer(io.StringIO(texts["vtt"]))))
    assert json.loads(texts["json"])["duration_s"] == pytest.approx(1.0, abs=0.01)
