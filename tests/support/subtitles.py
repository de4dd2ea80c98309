"""Strict readers of subtitles and lyrics, for tests."""

import re
import subprocess
from typing import NamedTuple

import pysubs2

from studio.audio import ffmpeg_path

Shown = list[tuple[float, float, list[str]]]
"""What a player shows: from, to, lines."""


class Note(NamedTuple):
    """A note of UltraStar; `pitch` as in MIDI, None if it is not scored."""

    start_s: float
    end_s: float
    text: str
    pitch: int | None = None


def srt_clock(text: str) -> float:
    found = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)[,.](\d{3})", text)
    assert found, text
    hours, minutes, seconds, thousandths = map(int, found.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def read_srt(text: str) -> Shown:
    """Strictly: numbers from 1 on, one blank line between cues, no other blank line."""
    assert text == "" or (text.endswith("\n") and not text.endswith("\n\n"))
    shown = []
    for number, block in enumerate(text.removesuffix("\n").split("\n\n") if text else [], 1):
        count, times, *lines = block.split("\n")
        assert count == str(number)
        start, end = times.split(" --> ")
        shown.append((srt_clock(start), srt_clock(end), lines))
    return shown


def read_vtt(text: str) -> Shown:
    """Strictly: time stamps inside a cue increase, between its start and its end."""
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    shown = []
    for block in blocks:
        times, *lines = block.split("\n")
        start, end = times.split(" --> ")
        stamps = [start, *re.findall(r"<(\d\d:[\d:.]+)>", "".join(lines)), end]
        known = [srt_clock(stamp) for stamp in stamps]
        assert known == sorted(set(known))
        lines = [re.sub(r"<\d\d:[\d:.]+>", "", line) for line in lines]
        assert not any(re.search(r"[<>]|&(?!(?:amp|lt|gt);)", line) for line in lines)
        plain = [
            line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for line in lines
        ]
        shown.append((srt_clock(start), srt_clock(end), plain))
    return shown


def read_lrc(text: str) -> list[tuple[list[float], str]]:
    """For every line its times, line first, and its text."""
    lines = []
    for line in text.splitlines():
        if re.fullmatch(r"\[(length|la|ti|ar|al):.*\]", line):
            continue
        assert re.match(r"\[\d{2,}:[0-5]\d\.\d\d\]", line), line
        marks = re.findall(r"[\[<](\d{2,}):([0-5]\d)\.(\d\d)[\]>]", line)
        times = [int(m) * 60 + int(s) + int(h) / 100 for m, s, h in marks]
        lines.append((times, re.sub(r"[\[<]\d{2,}:[0-5]\d\.\d\d[\]>]", "", line)))
    return lines


def read_ass(text: str) -> Shown:
    """What pysubs2 finds, without the time marks of words."""
    return [
        (event.start / 1000, event.end / 1000, event.plaintext.replace("\u2060", "").split("\n"))
        for event in pysubs2.SSAFile.from_string(text, "ass")
    ]


def swept(text: str) -> list[tuple[float, float, str]]:
    """From when to when each word of an ASS file is filled, and the word."""
    found = []
    for event in pysubs2.SSAFile.from_string(text, "ass"):
        at = event.start // 10
        for kind, length, word in re.findall(r"{\\(kf?)(\d+)}([^{]*)", event.text):
            if kind == "kf":
                found.append((at / 100, (at + int(length)) / 100, word.replace("\\N", "").strip()))
            at += int(length)
        assert at <= event.end // 10
    return found


def read_ultrastar(text: str) -> tuple[dict[str, str], list[list[Note]]]:
    """Strictly: the header, and the notes of each line."""
    assert text.endswith("\nE\n")
    rows = text.removesuffix("\nE\n").split("\n")
    header = dict(row[1:].split(":", 1) for row in rows if row.startswith("#"))
    tick_s = 60 / float(header["BPM"]) / 4
    lines: list[list[Note]] = [[]]
    end = 0
    for row in rows[len(header) :]:
        if row.startswith("- "):
            assert int(row[2:]) >= end and lines[-1]
            lines.append([])
            continue
        found = re.fullmatch(r"(?:F (\d+) (\d+) 0|: (\d+) (\d+) (-?\d+)) (.+)", row)
        assert found, row
        start, length = int(found[1] or found[3]), int(found[2] or found[4])
        assert start >= end and length > 0
        end = start + length
        pitch = None if found[5] is None else 60 + int(found[5])
        lines[-1].append(Note(start * tick_s, end * tick_s, found[6], pitch))
    return header, lines


def read_with_ffmpeg(text: str, kind: str) -> Shown:
    """What ffmpeg finds in subtitles, turned into SubRip."""
    command = [ffmpeg_path(), "-v", "error", "-f", kind, "-i", "pipe:0", "-f", "srt", "pipe:1"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    plain = re.sub(r"</?font[^>]*>", "", done.stdout.decode().replace("\r\n", "\n"))
    return read_srt(plain.removesuffix("\n"))
