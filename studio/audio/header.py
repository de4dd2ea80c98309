"""Reads what ffmpeg reports of a recording's header; texts in the file never begin a line of it."""

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
# With these words the duration is a guess from the size of the file.
_GUESSED = ("Estimating duration", "concatenated file")


@dataclass(frozen=True)
class Header:
    """The first sound stream of a file. `declared_s` is None where the file does not tell it.

    `declared_s` may be that of another stream. `start_s` is when the sound begins.
    `output_rate_hz` is the rate at which the stream decoded, where it was decoded.
    """

    container: str
    codec: str
    rate_hz: int
    channels: int
    declared_s: float | None
    start_s: float
    output_rate_hz: int | None

    @classmethod
    def of(cls, report: Report) -> "Header | None":
        """None where there is no sound."""
        container, declared_s = "unknown", None
        source: re.Match[str] | None = None
        start_s, stream_start_s = 0.0, None
        is_output, output_rate_hz = False, None
        for line in report.lines:
            if found := _INPUT.match(line):
                container = found[1]
            elif _OUTPUT.match(line):
                is_output = True
            elif (found := _DURATION.match(line)) and not is_output:
                declared_s = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
                start_s = _start_s(line) or 0.0
            elif found := _STREAM.match(line):
                if is_output:
                    output_rate_hz = int(found[2])
                if source is None:
                    source, stream_start_s = found, _start_s(line)
        if source is None:
            return None
        if any(report.says(words) for words in _GUESSED):
            declared_s = None
        return cls(
            container,
            source[1],
            int(source[2]),
            _channel_count(source[3]),
            declared_s,
            start_s if stream_start_s is None else stream_start_s,
            output_rate_hz,
        )


def _start_s(line: str) -> float | None:
    match = _START.search(line)
    return float(match[1]) if match else None


def _channel_count(layout: str) -> int:
    """Channels of an ffmpeg layout name: "mono", "stereo", "5.1(side)", "12 channels"."""
    base = layout.strip().split("(")[0].strip()
    if base in _LAYOUTS:
        return _LAYOUTS[base]
    if counted := re.match(r"(\d+) channels", base):
        return int(counted[1])
    if dotted := re.fullmatch(r"\d+(\.\d+)*", base):
        return sum(int(part) for part in dotted[0].split("."))
    return MAX_CHANNELS + 1
