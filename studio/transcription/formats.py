"""Writes transcripts as text, subtitles, lyrics or data."""

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Protocol

from studio.audio.tags import NO_TAGS, Tags
from studio.transcription.cues import Cue, cues, short_lines
from studio.transcription.karaoke import to_ass, to_ultrastar
from studio.transcription.transcript import Transcript, Word


class Writer(Protocol):
    """Writes a transcript in a format. `tags` are those of the song."""

    def __call__(self, transcript: Transcript, tags: Tags = NO_TAGS, /) -> str: ...


def _without_tags(write: Callable[[Transcript], str]) -> Writer:
    """A writer of a format that has no tags."""

    @wraps(write)
    def written(transcript: Transcript, _tags: Tags = NO_TAGS, /) -> str:
        return write(transcript)

    return written


@_without_tags
def to_txt(transcript: Transcript) -> str:
    """Plain text, one segment per line."""
    return transcript.text + "\n" if transcript.segments else ""


@_without_tags
def to_srt(transcript: Transcript) -> str:
    """SubRip."""
    blocks = [
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n"
        + "\n".join(cue.lines)
        + "\n"
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "\n".join(blocks)


@_without_tags
def to_vtt(transcript: Transcript) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/), with a time stamp before each word."""
    return _vtt(transcript, has_words=True)


def to_plain_vtt(transcript: Transcript) -> str:
    """WebVTT without time stamps inside the text, which simple players would show."""
    return _vtt(transcript, has_words=False)


def _vtt(transcript: Transcript, *, has_words: bool) -> str:
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = "\n".join(_vtt_lines(cue, has_words and cue.has_times))
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n")
    return "\n".join(blocks)


def _vtt_lines(cue: Cue, has_times: bool) -> Iterator[str]:
    """The lines of a cue. Time stamps increase, and lie inside the cue."""
    last, end = _clock(cue.start_s, "."), _clock(cue.end_s, ".")
    for row in cue.rows:
        line = ""
        for word in row:
            stamp = _clock(word.start_s, ".")
            has_stamp = has_times and last < stamp < end
            text = word.text if line else word.text.lstrip()
            escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            spaces = len(escaped) - len(escaped.lstrip())
            line += escaped[:spaces] + (f"<{stamp}>" if has_stamp else "") + escaped[spaces:]
            last = stamp if has_stamp else last
        yield line.rstrip()


@_without_tags
def to_json(transcript: Transcript) -> str:
    """The full result: segments, words, probabilities, language."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


@_without_tags
def to_tsv(transcript: Transcript) -> str:
    """TSV: start and end in milliseconds, text."""
    rows = [
        f"{round(segment.start_s * 1000)}\t{round(segment.end_s * 1000)}\t"
        + " ".join(segment.text.split())
        for segment in transcript.placed_segments
    ]
    return "\n".join(["start\tend\ttext", *rows]) + "\n"


def to_lrc(transcript: Transcript, tags: Tags = NO_TAGS) -> str:
    """Enhanced LRC: a time stamp for every line and, in angle brackets, for every word.

    Lines are as short as those of subtitles. Unknown word times are left out.
    """
    return _lrc(transcript, tags, has_words=True)


def to_plain_lrc(transcript: Transcript, tags: Tags = NO_TAGS) -> str:
    """LRC with a time stamp for every line only, which all players understand."""
    return _lrc(transcript, tags, has_words=False)


def _lrc(transcript: Transcript, tags: Tags, *, has_words: bool) -> str:
    minutes, seconds = divmod(round(transcript.duration_s), 60)
    header = {
        "ti": tags.title,
        "ar": tags.artist,
        "al": tags.album,
        "length": f"{minutes:02d}:{seconds:02d}",
        "la": transcript.text_language,
    }
    rows = [f"[{name}:{text}]" for name, text in header.items() if text]
    from_s = 0.0
    for row, has_times in short_lines(transcript):
        line, from_s = _lrc_line(row, from_s, has_words and has_times)
        rows.append(line)
    return "\n".join(rows) + "\n"


FORMATS: dict[str, tuple[Writer, str]] = {
    "txt": (to_txt, "text/plain"),
    "srt": (to_srt, "application/x-subrip; charset=utf-8"),
    "vtt": (to_vtt, "text/vtt"),
    "json": (to_json, "application/json"),
    "tsv": (to_tsv, "text/tab-separated-values"),
    "lrc": (to_lrc, "text/plain"),
    "plain.lrc": (to_plain_lrc, "text/plain"),
    "ass": (to_ass, "text/x-ssa"),
    "ultrastar.txt": (to_ultrastar, "text/plain"),
}
"""The writer and content type of each format (Flask adds the charset to text/*)."""

TAGGED = ("lrc", "plain.lrc", "ass", "ultrastar.txt")
"""The formats that contain tags."""

PITCHED = ("ultrastar.txt",)
"""The formats that contain the pitches of words."""


def _lrc_line(words: list[Word], from_s: float, has_times: bool) -> tuple[str, float]:
    """A line that begins at `from_s` or later, and its end."""
    line = f"[{_lrc_clock(max(words[0].start_s, from_s))}]"
    for number, word in enumerate(words):
        from_s = max(word.start_s, from_s)
        space = " " if number and word.text.startswith(" ") else ""
        line += space + (f"<{_lrc_clock(from_s)}>" if has_times else "") + word.text.strip()
    from_s = max(words[-1].end_s, from_s)
    return line + (f" <{_lrc_clock(from_s)}>" if has_times else ""), from_s


def _clock(time_s: float, mark: str) -> str:
    """hours:minutes:seconds and milliseconds."""
    milliseconds = round(time_s * 1000)
    hours, milliseconds = divmod(milliseconds, 3_600_000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{milliseconds:03d}"


def _lrc_clock(time_s: float) -> str:
    """minutes:seconds.hundredths; minutes continue beyond an hour."""
    hundredths = round(time_s * 100)
    minutes, hundredths = divmod(hundredths, 6000)
    return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
