"""Parses ffmpeg's report on the header of a recording. Text from the file never begins a line."""

import re
from dataclasses import dataclass

from studio.audio.report import Report
from studio.audio.sound import MAX_CHANNELS

_INPUT = re.compile(r"Input #0, (.+?), from")
_OUTPUT = re.compile(r"Output #0, ")
_DURATION = re.compile(r" *Duration: (\d+):(\d\d):(\d\d\.\d+)")
_START = re.compile(r", start:? (\d+\.\d+)")
_STREAM = re.compile(r" *Stream #0:\d+.*?: Audio: (\w+).*?, (\d+) Hz, ([^,]+)")
_LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8}
# ffmpeg prints this if it estimated the duration from the file size.
_GUESSED_DURATION = ("Estimating duration", "concatenated file")
# And this if the file tells only the number of its channels.
_GUESSED_LAYOUT = "Guessed Channel Layout"


@dataclass(frozen=True)
class Header:
    """The first audio stream of a file.

    `declared_s` is None if the file declares no duration, and may be that of another stream.
    `start_s` is the time at which the audio begins. `output_rate_hz` is the decoded sample rate, if
    the stream was decoded. `lfe` is the index of the LFE channel, if the file declares one.
    """

    container: str
    codec: str
    rate_hz: int
    channels: int
    declared_s: float | None
    start_s: float
    output_rate_hz: int | None
    lfe: int | None

    @classmethod
    def of(cls, report: Report) -> "Header | None":
        """None if there is no audio stream."""
        inputs, outputs = _sections(report)
        stream = _first(_STREAM, inputs) or _first(_STREAM, outputs)
        if stream is None:
            return None
        source = _first(_INPUT, inputs)
        duration = _first(_DURATION, inputs)
        decoded = _last(_STREAM, outputs)
        is_guessed = any(report.says(words) for words in _GUESSED_DURATION)
        stream_start_s = _start_s(stream.string)
        file_start_s = _start_s(duration.string) if duration else None
        return cls(
            source[1] if source else "unknown",
            stream[1],
            int(stream[2]),
            _channel_count(stream[3]),
            _seconds(duration) if duration and not is_guessed else None,
            stream_start_s if stream_start_s is not None else file_start_s or 0.0,
            int(decoded[2]) if decoded else None,
            None if report.says(_GUESSED_LAYOUT) else _lfe(stream[3]),
        )


def _sections(report: Report) -> tuple[list[str], list[str]]:
    """The lines about the input, and those about the output."""
    for number, line in enumerate(report.lines):
        if _OUTPUT.match(line):
            return report.lines[:number], report.lines[number:]
    return report.lines, []


def _first(pattern: re.Pattern[str], lines: list[str]) -> re.Match[str] | None:
    return next(filter(None, map(pattern.match, lines)), None)


def _last(pattern: re.Pattern[str], lines: list[str]) -> re.Match[str] | None:
    return _first(pattern, lines[::-1])


def _seconds(duration: re.Match[str]) -> float:
    return int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])


def _start_s(line: str) -> float | None:
    match = _START.search(line)
    return float(match[1]) if match else None


def _channel_count(layout: str) -> int:
    """The number of channels in an ffmpeg layout: "mono", "stereo", "5.1(side)", "12 channels"."""
    base = layout.strip().split("(")[0].strip()
    if base in _LAYOUTS:
        return _LAYOUTS[base]
    if counted := re.match(r"(\d+) channels", base):
        return int(counted[1])
    if dotted := re.fullmatch(r"\d+(\.\d+)*", base):
        return sum(int(part) for part in dotted[0].split("."))
    return MAX_CHANNELS + 1


def _lfe(layout: str) -> int | None:
    """The index of the LFE channel in an ffmpeg layout: "2.1", "5.1(side)", "7.1"."""
    if not re.match(r" *\d\.1\b", layout):
        return None
    # Left and right come first and, in most layouts, center.
    return 2 if layout.strip() in ("2.1", "6.1(front)") else 3
