"""Examines a recording before it is accepted."""

from dataclasses import dataclass
from pathlib import Path

from studio.audio.child import RECORDING, Child, Report
from studio.audio.decoding import FIRST_CHANNEL, LONGEST_S
from studio.audio.ends import End, end_of, is_chained
from studio.audio.header import Header
from studio.audio.sound import MOST_CHANNELS, SAMPLE_RATES_HZ
from studio.errors import AudioTooLong, AudioTruncated, AudioUnsupported, NotAudio

# Up to this length a recording is decoded whole, so that its length is exact.
FULLY_PROBED_S = 60.0
TAIL_S = 3.0
# Of the tail so much more is decoded, to notice a header that promises too little.
MORE_TAIL_S = 5.0
# Recordings that follow each other in one file have no length but what they decode to.
LONGEST_CHAIN_S = 6 * 3600.0
# What a header may promise and the sound not hold: encoders count their padding differently.
SPARE_SHARE = 0.02
SPARE_S = 0.15

_NOTHING_LEFT_OUT = ["-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1"]
_AT_8_KHZ = ["-ar", "8000"]
_COUNTED = ["-af", FIRST_CHANNEL, "-f", "u8", "-c:a", "pcm_u8", "pipe:1"]


@dataclass(frozen=True)
class Probe:
    """What a sound file is: duration in seconds, rate in Hz, channel count, container, codec.

    `says_its_end` is false where the file does not tell where its sound ends, so that nobody can
    see whether its end is missing.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    container: str
    codec: str
    says_its_end: bool


def probe(path: Path) -> Probe:
    """Look at a sound file and make sure that it decodes, and that its end is there.

    The first minute is decoded. The last seconds of a longer file are too, where its header tells
    how long it is; where it does not, the length is measured without decoding.
    Raises NotAudio, AudioTruncated, AudioTooLong or AudioUnsupported.
    """
    header, end, decoded_s = _beginning(path)
    declared_s = header.declared_s
    if decoded_s < FULLY_PROBED_S:
        if declared_s is not None and decoded_s < declared_s * (1 - SPARE_SHARE) - SPARE_S:
            _raise_truncated(declared_s, f"only {decoded_s:.1f} s are there")
        duration_s = round(decoded_s, 6)
    elif header.container == "ogg" and is_chained(path):
        duration_s = _decoded_s(path)
    elif header.container == "flac":
        # Frames tell their own times, so that a search for the end can be led anywhere.
        duration_s = round(max(_measured_s(path), FULLY_PROBED_S), 6)
        if declared_s is not None and duration_s < declared_s * (1 - SPARE_SHARE) - SPARE_S:
            _raise_truncated(declared_s, f"only {duration_s:.1f} s are there")
    elif declared_s is None or declared_s < FULLY_PROBED_S or not _ends_at(path, declared_s):
        duration_s = round(max(_measured_s(path), FULLY_PROBED_S), 6)
    else:
        duration_s = declared_s
    says_its_end = end is End.WHOLE if end is not None else declared_s is not None
    return Probe(
        duration_s, header.rate_hz, header.channels, header.container, header.codec, says_its_end
    )


def _beginning(path: Path) -> tuple[Header, End | None, float]:
    """The header, the end, and how many seconds decode at first, at most FULLY_PROBED_S."""
    command = [*RECORDING, *_NOTHING_LEFT_OUT, "-t", f"{FULLY_PROBED_S}", *_COUNTED]
    with Child(command, path) as child:
        samples = _count(child)
        went_well = child.wait()
        header = _checked(child.report)
        end = end_of(path, header.container)
        if end is End.CUT:
            raise AudioTruncated("The file breaks off before its end. Upload it again in full.")
        if not went_well:
            raise NotAudio(f"The sound could not be decoded: {child.report.last_words()}.")
    if samples == 0:
        raise NotAudio("The file has a sound header, but no sound can be decoded from it.")
    return header, end, samples / (header.output_rate_hz or header.rate_hz)


def _checked(report: Report) -> Header:
    header = Header.of(report)
    if header is None:
        if report.says("moov atom not found"):
            raise AudioTruncated(
                "The MP4/M4A file is cut off: its index is missing. Upload it again."
            )
        raise NotAudio(
            "No sound was found in the file. Send an MP3, WAV, FLAC, M4A or OGG recording."
        )
    least_hz, most_hz = SAMPLE_RATES_HZ
    if not least_hz <= header.rate_hz <= most_hz:
        raise AudioUnsupported(
            f"The sample rate is {header.rate_hz:,} Hz; {least_hz:,} to {most_hz:,} Hz are "
            "supported. Resample the file first."
        )
    if header.channels > MOST_CHANNELS:
        raise AudioUnsupported(
            f"The file has more than {MOST_CHANNELS} channels or an unknown layout. Mix it down "
            "to stereo first."
        )
    return header


def _ends_at(path: Path, declared_s: float) -> bool:
    """Whether the sound ends about where the header says; False where it goes on.

    Raises AudioTruncated where it ends before.
    """
    start = ["-v", "error", "-ss", f"{declared_s - TAIL_S:.3f}", *RECORDING, *_NOTHING_LEFT_OUT]
    length_s = TAIL_S + MORE_TAIL_S
    with Child([*start, "-t", f"{length_s}", *_AT_8_KHZ, *_COUNTED], path) as child:
        samples = _count(child)
        if not child.wait():
            raise NotAudio(f"The end could not be decoded: {child.report.last_words()}.")
    if samples == 0:
        _raise_truncated(declared_s, "its end is missing")
    return samples / 8000 < length_s


def _decoded_s(path: Path) -> float:
    """The length of several recordings in one file, by decoding it. Raises AudioTooLong."""
    command = ["-v", "error", *RECORDING, *_NOTHING_LEFT_OUT, *_AT_8_KHZ, *_COUNTED]
    samples = 0
    with Child(command, path) as child:
        while data := child.receive():
            samples += len(data)
            child.allow(samples / 8000)
            if samples / 8000 > LONGEST_CHAIN_S:
                raise AudioTooLong(
                    f"The recordings in the file sound longer than {LONGEST_CHAIN_S:,.0f} s. Send "
                    "them one by one."
                )
        if not child.wait():
            raise NotAudio(f"The sound could not be decoded: {child.report.last_words()}.")
    return samples / 8000


def _measured_s(path: Path) -> float:
    """The length of a recording: the sum of its packets. Raises AudioTooLong."""
    command = ["-v", "error", *RECORDING, *_NOTHING_LEFT_OUT, "-c", "copy", "-f", "framecrc"]
    tick_s, ticks, rest = 0.0, 0, b""
    with Child([*command, "pipe:1"], path) as child:
        while data := child.receive():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"#tb 0: "):
                    count, per_s = line[7:].split(b"/")
                    tick_s = int(count) / int(per_s)
                elif not line.startswith(b"#"):
                    ticks += int(line.split(b",", 4)[3])
            if ticks * tick_s > LONGEST_S:
                raise AudioTooLong("The file holds more than a day of sound. Send it in parts.")
        if not child.wait():
            raise NotAudio(f"The file could not be read: {child.report.last_words()}.")
    return ticks * tick_s


def _count(child: Child) -> int:
    """The bytes that come out of a child."""
    count = 0
    while data := child.receive():
        count += len(data)
    return count


def _raise_truncated(declared_s: float, found: str) -> None:
    raise AudioTruncated(
        f"The file promises {declared_s:.1f} s of sound, but {found}. Upload it again in full."
    )
