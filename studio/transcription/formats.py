"""Writes transcripts as text, subtitles, lyrics or data."""

import json
from collections.abc import Callable

from studio.transcription.cues import cues, phrases
from studio.transcription.transcript import Transcript, Word


def to_txt(transcript: Transcript) -> str:
    """Plain text, one segment per line."""
    return transcript.text + "\n" if transcript.segments else ""


def to_srt(transcript: Transcript) -> str:
    """SubRip."""
    blocks = [
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n"
        + "\n".join(cue.lines)
        + "\n"
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "\n".join(blocks)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """The full result: segments, words, probabilities, language."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


def to_tsv(transcript: Transcript) -> str:
    """TSV: start and end in milliseconds, text."""
    rows = [
        f"{round(segment.start_s * 1000)}\t{round(segment.end_s * 1000)}\t"
        + " ".join(segment.text.split())
        for segment in transcript.segments
    ]
    return "\n".join(["start\tend\ttext", *rows]) + "\n"


def to_lrc(transcript: Transcript) -> str:
    """Enhanced LRC: a time stamp for every line and, in angle brackets, for every word.

    Lines are as short as those of subtitles. Unknown word times are left out.
    """
    minutes, seconds = divmod(round(transcript.duration_s), 60)
    rows = [f"[length:{minutes:02d}:{seconds:02d}]"]
    if transcript.language:
        rows.append(f"[la:{transcript.language}]")
    from_s = 0.0
    for segment in transcript.segments:
        for words in phrases(segment, most_lines=1):
            line, from_s = _lrc_line(words, from_s, bool(segment.words))
            rows.append(line)
    return "\n".join(rows) + "\n"


FORMATS: dict[str, tuple[Callable[[Transcript], str], str]] = {
    "txt": (to_txt, "text/plain"),
    "srt": (to_srt, "application/x-subrip; charset=utf-8"),
    "vtt": (to_vtt, "text/vtt"),
    "json": (to_json, "application/json"),
    "tsv": (to_tsv, "text/tab-separated-values"),
    "lrc": (to_lrc, "text/plain"),
}
"""The writer and content type of each format (Flask adds the charset to text/*)."""


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
