"""The timeline of a recording, as players show it.

Audio may begin late (an MP4 edit list, a stream joined midway) and may have gaps in which nothing
was sent. Both become silence, so that the times of words and stems match a player. Larger jumps
come from a broadcast clock and are skipped.
"""

from pathlib import Path

from studio.audio.child import Child
from studio.audio.header import Header

# Smaller jumps are encoder delay or rounding, unless they add up.
MIN_JUMP_S = 0.1
# The silence of a gap passes through ffmpeg's memory; that of a late start does not.
MAX_GAP_S = 60.0
LATEST_START_S = 600.0
# Matroska counts time in milliseconds.
COARSE_TICK_S = 0.001

# Used in every run; otherwise ffmpeg removes gaps of more than 10 s.
KEEP_TIMES = "-copyts"
# Renumbers samples from 0. Keeps only jumps within the limits; moves no sample back.
# Variables: 0 the expected time stamp, 1 the samples so far, 2 the jump.
_JUMP = f"if(NB_CONSUMED_SAMPLES*between(ld(2),{MIN_JUMP_S}*SR,{MAX_GAP_S}*SR),ld(2),0)"
_IS_SMALL = f"NB_CONSUMED_SAMPLES*lt(abs(ld(2)),{MIN_JUMP_S}*SR)"
_BEFORE = "asetpts='st(2,PTS-ld(0));st(0,"
_AFTER = f"+NB_SAMPLES);st(1,ld(1)+{_JUMP}+NB_SAMPLES);ld(1)-NB_SAMPLES'"
# Small jumps stay out of the expected time stamp, so that they add up.
RENUMBER = f"{_BEFORE}if({_IS_SMALL},ld(0),PTS){_AFTER}"
# Formats without time stamps have no gaps: a jump means a packet that cannot be decoded. Its length
# is missing, which shows how damaged the file is.
UNFRAMED = ("mp3", "aac", "flac")
_RENUMBER_UNFRAMED = f"{_BEFORE}PTS{_AFTER}"
# Options of `aresample` that fill gaps with silence after RENUMBER.
FILL_GAPS = f"async=1:first_pts=0:min_hard_comp={MIN_JUMP_S / 2}"


def renumber(container: str) -> str:
    """The filter for a container: RENUMBER, except if its files have no gaps."""
    return _RENUMBER_UNFRAMED if container in UNFRAMED else RENUMBER


class PacketClock:
    """Adds up packets to the duration that results from RENUMBER and FILL_GAPS.

    Time stamps and durations are in ticks of `tick_s` seconds. Audio before 0 is not played.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._ticks = 0
        self._next: int | None = None

    @property
    def length_s(self) -> float:
        return self._ticks * self._tick_s

    def add(self, time_stamp: int | None, ticks: int) -> None:
        self._ticks += ticks
        if time_stamp is None:
            self._next = None
            return
        if self._next is None:
            self._ticks += min(0, time_stamp) if self._ticks == ticks else 0
            self._next = time_stamp + ticks
            return
        jump = time_stamp - self._next
        jump_s = jump * self._tick_s
        if abs(jump_s) < MIN_JUMP_S and self._tick_s < COARSE_TICK_S:
            self._next += ticks
            return
        # The durations of packets are rounded to a coarse clock; their sum would drift.
        if -MIN_JUMP_S < jump_s <= MAX_GAP_S:
            self._ticks += jump
        self._next = time_stamp + ticks


def late_start_s(path: Path, header: Header, recording: list[str]) -> float:
    """Seconds of silence before the first sample."""
    # The start time of an MP3 is the encoder delay, which is not played. That of an MPEG program
    # stream is the clock of its first packet, which players take for 0.
    if header.container in ("mp3", "mpeg") or not MIN_JUMP_S <= header.start_s <= LATEST_START_S:
        return 0.0
    # The header refers to the first packet, for which a decoder may output nothing.
    command = ["-v", "error", KEEP_TIMES, *recording, "-map", "0:a:0", "-frames:a", "1"]
    output = b""
    with Child([*command, "-c:a", "pcm_s16le", "-f", "framecrc", "pipe:1"], path) as child:
        while data := child.receive():
            output += data
        child.wait()
    tick_s = 0.0
    for line in output.splitlines():
        if line.startswith(b"#tb 0: "):
            tick_s = seconds_of_tick(line)
        elif not line.startswith(b"#"):
            return min(LATEST_START_S, max(0.0, int(line.split(b",")[2]) * tick_s))
    return 0.0


def seconds_of_tick(line: bytes) -> float:
    """The tick in a time base line of `framecrc`, such as `#tb 0: 1/44100`."""
    count, per_s = line.removeprefix(b"#tb 0: ").split(b"/")
    return int(count) / int(per_s)
