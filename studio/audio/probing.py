"""Checks recordings before they are accepted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.audio import mp4
from studio.audio.accepted import FILE_TYPES, REMEDY, decoder_of, refused
from studio.audio.chain import Part, child_of, parts_of
from studio.audio.child import RECORDING, Child
from studio.audio.decoding import FIRST_CHANNEL, LONGEST_S, check_complete
from studio.audio.ends import End, end_of
from studio.audio.header import Header
from studio.audio.report import Report
from studio.audio.sound import MAX_CHANNELS, SAMPLE_RATES_HZ, SPARE_S, SPARE_SHARE
from studio.audio.timeline import (
    FILL_GAPS,
    KEEP_TIMES,
    UNFRAMED,
    PacketClock,
    late_start_s,
    renumber,
    seconds_of_tick,
)
from studio.errors import AudioTooLong, AudioTruncated, AudioUnsupported, NotAudio

# Recordings up to this length are decoded in full, so their duration is exact.
FULLY_PROBED_S = 60.0
TAIL_S = 3.0
# Decode this much beyond the declared end, to detect a header that declares too little.
MORE_TAIL_S = 5.0
# The length of chained recordings is known only by decoding them.
MAX_CHAIN_S = 6 * 3600.0
# FLAC frames contain their own times, so seeking to the end cannot be trusted; the duration of the
# other formats may be that of another track.
_MEASURED = ("flac", "ogg", "mov", "matroska", "mpeg")

_NOTHING_LEFT_OUT = ["-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1"]
_AT_8_KHZ = ["-ar", "8000"]
_OUTPUT = ["-f", "u8", "-c:a", "pcm_u8", "pipe:1"]
_COUNTED = ["-af", FIRST_CHANNEL, *_OUTPUT]


@dataclass(frozen=True)
class Probe:
    """The properties of an audio file.

    The duration counts from the time that a player shows as zero. `says_its_end` is false if the
    file does not record where it ends, so that truncation cannot be detected.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    container: str
    codec: str
    says_its_end: bool

    @property
    def file_types(self) -> tuple[str, ...]:
        """The file extensions of the container, the usual one first."""
        return FILE_TYPES[self.container.partition(",")[0]]


@dataclass(frozen=True)
class _Opening:
    """The result of decoding the first minute of a file, or of the first part of a chain.

    `decoder` has the input options that ffmpeg needs. `decoded_s` is at most FULLY_PROBED_S and
    counts from the first sample.
    """

    header: Header
    decoder: list[str]
    end: End | None
    decoded_s: float
    damaged_packets: int

    @property
    def declared_duration_s(self) -> float:
        """The declared duration of the audio in seconds; 0 if unknown.

        If the end is known from the bytes, the duration in the container is ignored: it may be that
        of a picture, or include the time before the audio.
        """
        known = self.end is None and self.header.declared_s is not None
        return self.header.declared_s or 0.0 if known else 0.0


def probe(path: Path) -> Probe:
    """Check that an audio file decodes and is complete.

    The first minute is decoded, and the last seconds of a longer file if its header gives the
    duration; otherwise the duration is measured without decoding.
    Raises NotAudio, AudioTruncated, AudioTooLong or AudioUnsupported.
    """
    parts = parts_of(path)
    opening = _open(path, parts)
    header = opening.header
    start_s = 0.0 if len(parts) > 1 else late_start_s(path, header, RECORDING)
    duration_s = round(start_s + _length_s(path, parts, opening), 6)
    says_its_end = opening.end is End.WHOLE
    if opening.end is None or (opening.end is End.UNKNOWN and mp4.is_mp4(header.container)):
        declared_s = header.declared_s
        says_its_end = declared_s is not None and not _is_short(duration_s, declared_s)
    return Probe(
        duration_s, header.rate_hz, header.channels, header.container, header.codec, says_its_end
    )


def _length_s(path: Path, parts: list[Part], opening: _Opening) -> float:
    """The seconds from the first sample to the last. Raises AudioTruncated."""
    header, declared_s = opening.header, opening.header.declared_s
    if len(parts) > 1:
        return sum(_decoded_s(path, part) for part in parts)
    if opening.decoded_s < FULLY_PROBED_S:
        if _is_short(header.start_s + opening.decoded_s, opening.declared_duration_s):
            _raise_truncated(
                opening.declared_duration_s, f"only {opening.decoded_s:.1f} s could be decoded"
            )
        if opening.damaged_packets:
            measured_s, damaged = _measured_s(path), opening.damaged_packets
            check_complete(opening.decoded_s, measured_s, damaged, header.container)
        return opening.decoded_s
    if parts and parts[0].recordings > 1:
        return _decoded_s(path, None)
    if header.container.partition(",")[0] in _MEASURED:
        measured_s = max(_measured_s(path), FULLY_PROBED_S)
        if _is_short(header.start_s + measured_s, opening.declared_duration_s):
            _raise_truncated(
                opening.declared_duration_s, f"only {measured_s:.1f} s could be decoded"
            )
        is_close = declared_s is not None and abs(measured_s - declared_s) < SPARE_S
        return declared_s if is_close and declared_s and header.container != "flac" else measured_s
    if declared_s is None or declared_s < FULLY_PROBED_S or not _ends_at(path, opening):
        return max(_measured_s(path), FULLY_PROBED_S)
    return declared_s


def _is_short(length_s: float, promised_s: float) -> bool:
    return length_s < promised_s * (1 - SPARE_SHARE) - SPARE_S


def _counted_with_gaps(container: str = "") -> list[str]:
    return ["-af", f"{renumber(container)},{FIRST_CHANNEL},aresample={FILL_GAPS}", *_OUTPUT]


def _open(path: Path, parts: list[Part], codec: str = "", container: str = "") -> _Opening:
    """Decode the first minute.

    `codec` is given if ffmpeg is known to misdetect it, `container` to measure the damage.
    """
    decoder = decoder_of(path, codec)
    command = [KEEP_TIMES, *decoder, *RECORDING, *_NOTHING_LEFT_OUT, "-t", f"{FULLY_PROBED_S}"]
    is_chain = len(parts) > 1
    command += _counted_with_gaps(container)
    with child_of(command, path, parts[0] if is_chain else None) as child:
        samples = _count(child)
        went_well = child.wait()
        header = Header.of(child.report)
        if header is not None and not codec and decoder_of(path, header.codec):
            return _open(path, parts, header.codec)
        header = _checked(child.report)
        is_unframed = header.container in UNFRAMED
        if child.report.damaged_packets and is_unframed and not container:
            return _open(path, parts, codec, header.container)
        end = end_of(path, header.container)
        if end is End.CUT:
            raise AudioTruncated("The file is truncated. Upload the complete file.")
        if mp4.is_mp4(header.container) and mp4.Layout(path).is_encrypted:
            raise AudioUnsupported(
                "The audio in the file is encrypted (copy protection) and cannot be decoded. "
                "Send an unprotected copy."
            )
        if not went_well:
            raise refused(child.report, header.codec) or NotAudio(
                f"The audio ({header.codec}) could not be decoded: {child.report.last_words()}. "
                f"{REMEDY}"
            )
    if samples == 0:
        raise NotAudio("The file has an audio header, but no audio can be decoded from it.")
    decoded_s = samples / (header.output_rate_hz or header.rate_hz)
    return _Opening(header, decoder, end, decoded_s, child.report.damaged_packets)


def _checked(report: Report) -> Header:
    header = Header.of(report)
    if header is None:
        if report.says("moov atom not found"):
            raise AudioTruncated(
                "The MP4/M4A file is truncated: its index is missing. Upload the complete file."
            )
        raise NotAudio(
            "The file contains no audio. Send an MP3, WAV, FLAC, M4A or OGG file, or a video with "
            "a sound track."
        )
    min_hz, max_hz = SAMPLE_RATES_HZ
    if not min_hz <= header.rate_hz <= max_hz:
        raise AudioUnsupported(
            f"The sample rate is {header.rate_hz:,} Hz; it must be between {min_hz:,} and "
            f"{max_hz:,} Hz. Resample the file first."
        )
    if header.channels > MAX_CHANNELS:
        raise AudioUnsupported(
            f"The file has more than {MAX_CHANNELS} channels or an unknown channel layout. Mix it "
            "down to stereo first."
        )
    return header


def _ends_at(path: Path, opening: _Opening) -> bool:
    """Whether the audio ends about where the header says.

    Raises AudioTruncated if it ends earlier, unless the end is known to be present.
    """
    declared_s = opening.header.declared_s or 0.0
    start = ["-v", "error", "-ss", f"{declared_s - TAIL_S:.3f}", *opening.decoder, *RECORDING]
    start += _NOTHING_LEFT_OUT
    length_s = TAIL_S + MORE_TAIL_S
    with Child([*start, "-t", f"{length_s}", *_AT_8_KHZ, *_COUNTED], path) as child:
        samples = _count(child)
        if not child.wait():
            raise NotAudio(
                f"The end of the file could not be decoded: {child.report.last_words()}."
            )
    if samples == 0 and opening.declared_duration_s:
        _raise_truncated(declared_s, "its end is missing")
    return 0 < samples / 8000 < length_s


def _decoded_s(path: Path, part: Part | None) -> float:
    """The total duration of chained recordings, by decoding them. Raises AudioTooLong."""
    command = [
        "-v",
        "error",
        KEEP_TIMES,
        *RECORDING,
        *_NOTHING_LEFT_OUT,
        *_AT_8_KHZ,
        *_counted_with_gaps(),
    ]
    samples = 0
    with child_of(command, path, part) as child:
        while data := child.receive():
            samples += len(data)
            child.allow(samples / 8000)
            if samples / 8000 > MAX_CHAIN_S:
                raise AudioTooLong(
                    f"The recordings in the file are longer than {MAX_CHAIN_S:,.0f} s in "
                    "total. Send them separately."
                )
        if not child.wait():
            raise NotAudio(f"The audio could not be decoded: {child.report.last_words()}.")
    return samples / 8000


def _measured_s(path: Path) -> float:
    """The duration of a recording, as the sum of its packets. Raises AudioTooLong."""
    command = ["-v", "error", KEEP_TIMES, *RECORDING, *_NOTHING_LEFT_OUT, "-c", "copy"]
    clock = PacketClock(0.0)
    with Child([*command, "-f", "framecrc", "pipe:1"], path) as child:
        for line in _lines(child):
            if line.startswith(b"#tb 0: "):
                clock = PacketClock(seconds_of_tick(line))
            elif not line.startswith(b"#"):
                clock.add(*_packet(line))
            if clock.length_s > LONGEST_S:
                raise AudioTooLong("The file contains more than a day of audio. Split it.")
        if not child.wait():
            raise NotAudio(f"The file could not be read: {child.report.last_words()}.")
    return clock.length_s


def _lines(child: Child) -> Iterator[bytes]:
    """The complete lines that a child outputs."""
    rest = b""
    while data := child.receive():
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _packet(line: bytes) -> tuple[int | None, int]:
    """The time stamp of a packet, if it has one, and its duration, from a line of `framecrc`."""
    _, _, time_stamp, ticks, *_ = line.split(b",", 4)
    is_known = time_stamp.strip() != b"NOPTS"
    return int(time_stamp) if is_known else None, int(ticks)


def _count(child: Child) -> int:
    """The number of bytes that a child outputs."""
    count = 0
    while data := child.receive():
        count += len(data)
    return count


def _raise_truncated(declared_s: float, reason: str) -> None:
    raise AudioTruncated(
        f"The file declares {declared_s:.1f} s of audio, but {reason}. Upload the complete file."
    )
