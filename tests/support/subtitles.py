"""Strict readers of subtitles and lyrics, for tests."""

import re

Shown = list[tuple[float, float, list[str]]]
"""What a player shows: from, to, lines."""


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
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    shown = []
    for block in blocks:
        times, *lines = block.split("\n")
        start, end = times.split(" --> ")
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
        if re.fullmatch(r"\[(length|la):.*\]", line):
            continue
        assert re.match(r"\[\d{2,}:[0-5]\d\.\d\d\]", line), line
        marks = re.findall(r"[\[<](\d{2,}):([0-5]\d)\.(\d\d)[\]>]", line)
        times = [int(m) * 60 + int(s) + int(h) / 100 for m, s, h in marks]
        lines.append((times, re.sub(r"[\[<]\d{2,}:[0-5]\d\.\d\d[\]>]", "", line)))
    return lines
