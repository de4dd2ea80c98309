"""The time line of a recording, as players show it.

Sound may begin late (an edit list of MP4, a stream that was joined in the middle) and may have gaps
in which nothing was sent. Both become silence, so that the times of words and stems are those of a
player. Larger jumps are the clock of some transmission, and are left out.
"""

from pathlib import Path

from studio.audio.child import Child
from studio.audio.header import Header

# Less is the delay of an encoder, or rounding.
MIN_JUMP_S = 0.1
# The silence of a gap passes through ffmpeg's memory; that of a late start does not.
MAX_GAP_S = 60.0
LATEST_START_S = 600.0

# An option of every run: else ffmpeg closes gaps of more than 10 s by itself.
KEEP_TIMES = "-copyts"
# Renumbers samples from 0 on. Only jumps within the bounds stay; no sample is moved back.
# Variables: 0 the expected time stamp, 1 the samples so far, 2 the jump.
_JUMP = f"if(NB_CONSUMED_SAMPLES*between(ld(2),{MIN_JUMP_S}*SR,{MAX_GAP_S}*SR),ld(2),0)"
RENUMBER = (
    "asetpts='st(2,PTS-ld(0));st(0,PTS+NB_SAMPLES);"
    f"st(1,ld(1)+{_JUMP}+NB_SAMPLES);ld(1)-NB_SAMPLES'"
)
# Options of `aresample`, which put silence where samples are missing after RENUMBER.
FILL_GAPS = f"async=1:first_pts=0:min_hard_comp={MIN_JUMP_S / 2}"


class PacketClock:
    """Adds up the packets of a recording to the length that RENUMBER and FILL_GAPS give it.

    Time stamps and lengths are in ticks of `tick_s` seconds. Sound before 0 is not played.
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
        elif MIN_JUMP_S <= (time_stamp - self._next) * self._tick_s <= MAX_GAP_S:
            self._ticks += time_stamp - self._next
        self._next = time_stamp + ticks


def late_start_s(path: Path, header: Header, recording: list[str]) -> float:
    """Seconds of silence before the first sample; 0 where it begins at once."""
    # The start of an MP3 is its encoder's delay, which is not played.
    if header.container == "mp3" or not MIN_JUMP_S <= header.start_s <= LATEST_START_S:
        return 0.0
    # The header counts from the first packet, of which a decoder may give nothing.
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
    """The tick of a time base line of `framecrc`, such as `#tb 0: 1/44100`."""
    count, per_s = line.removeprefix(b"#tb 0: ").split(b"/")
    return int(count) / int(per_s)
