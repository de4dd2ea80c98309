"""Decodes recordings into blocks."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.audio.accepted import decoder_of
from studio.audio.chain import Part, child_of, parts_of
from studio.audio.child import RECORDING, Child
from studio.audio.header import Header
from studio.audio.mono import IN_SCALE, MonoMixer, mono_graph
from studio.audio.sound import BLOCK_SAMPLES, SPARE_S, SPARE_SHARE, Sound
from studio.audio.timeline import FILL_GAPS, KEEP_TIMES, UNFRAMED, late_start_s, renumber
from studio.errors import NotAudio

# Where it is not known how much sound there should be, no more than this is decoded.
LONGEST_S = 86_400.0
# There may be a little more than was found when the recording was examined.
MORE = 1.02
MORE_S = 2.0
FIRST_CHANNEL = "pan=mono|c0=c0"
RESAMPLER = "filter_size=64:cutoff=0.98"
# The packets of most codecs last 20 ms or more.
SHORT_PACKET_S = 0.02
# Silence after a sound that is shorter than the resampler's filter.
TAIL_SHARE = 0.01


def decode(
    path: Path, sample_rate_hz: int, channels: int, expected_s: float = LONGEST_S
) -> Generator[Sound, None, None]:
    """Yield blocks float32 `(channels, samples)` of a file at `sample_rate_hz`.

    Sample 0 is where a player's clock is 0. A mono file is copied to every channel at its own
    level; other layouts are mixed down as ffmpeg does for integer samples, so that the sum is
    within full scale, but to one channel without losing what is in opposite phase. The child is
    ended when the generator is closed. Raises NotAudio when the file cannot be decoded, or decodes
    to clearly more than `expected_s`, or to clearly less because it is damaged.
    """
    source = _Source.of(path)
    samples = 0
    for block in _even(source.blocks(sample_rate_hz, channels)):
        samples += block.shape[1]
        if samples > (MORE * expected_s + MORE_S) * sample_rate_hz:
            raise NotAudio(
                f"The file was measured at {expected_s:,.1f} s of audio, but decodes to more. "
                "Convert it and upload it again."
            )
        yield block
    if samples == 0 and source.header is not None:
        # ffmpeg's resampler gives nothing for less than half of its filter.
        rate_hz = source.header.rate_hz
        for block in source.blocks(rate_hz, channels, is_resampled=False):
            yield _resampled(block, rate_hz, sample_rate_hz)
    if source.header is not None and expected_s != LONGEST_S:
        decoded_s, container = samples / sample_rate_hz, source.header.container
        check_complete(decoded_s, expected_s, source.damaged_packets, container)


def check_complete(
    decoded_s: float, expected_s: float, damaged_packets: int, container: str
) -> None:
    """Raise NotAudio if clearly less was decoded than the packets of a damaged recording hold."""
    # What lies between the packets of unframed ones is taken for damaged packets.
    if damaged_packets and container not in UNFRAMED:
        # What is missing between time stamps became silence.
        decoded_s = min(decoded_s, expected_s - damaged_packets * SHORT_PACKET_S)
    if damaged_packets and decoded_s < expected_s * (1 - SPARE_SHARE) - SPARE_S:
        raise NotAudio(
            f"The file is damaged: only {max(0.0, decoded_s):,.1f} s of {expected_s:,.1f} s of "
            "audio can be decoded. Upload an undamaged copy."
        )


@dataclass
class _Source:
    """A recording, or several of a chain; `damaged_packets` could not be decoded so far."""

    path: Path
    header: Header | None
    parts: list[Part]
    start_s: float
    damaged_packets: int = 0

    @classmethod
    def of(cls, path: Path) -> "_Source":
        header = _header(path)
        parts = parts_of(path)
        is_chain = len(parts) > 1
        start_s = 0.0 if header is None or is_chain else late_start_s(path, header, RECORDING)
        return cls(path, header, parts if is_chain else [], start_s)

    def blocks(self, rate_hz: int, channels: int, is_resampled: bool = True) -> Iterator[Sound]:
        """Blocks of any length."""
        rate = f"{rate_hz}:{RESAMPLER}:" if is_resampled else ""
        resampler = f"aresample={rate}{FILL_GAPS}"
        numbering = renumber(self.header.container if self.header else "")
        silent = round(self.start_s * rate_hz)
        for start in range(0, silent, BLOCK_SAMPLES):
            yield np.zeros((channels, min(BLOCK_SAMPLES, silent - start)), np.float32)
        known = self.header.channels if self.header else 0
        parts: list[Part | None] = [*self.parts] or [None]
        for part in parts:
            mixing = _Mixing(part.channels if part else known, channels, resampler, numbering)
            yield from self._decoded(part, mixing, rate_hz)

    def _decoded(self, part: Part | None, mixing: "_Mixing", rate_hz: int) -> Iterator[Sound]:
        decoder = decoder_of(self.path, self.header.codec) if self.header else []
        command = ["-v", "error", KEEP_TIMES, *decoder, *RECORDING, *mixing.arguments]
        command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
        frame_bytes = 4 * mixing.read_channels
        mixer = MonoMixer(rate_hz, self.header.lfe if self.header and part is None else None)
        samples = 0
        held = bytearray()
        with child_of(command, self.path, part) as child:
            while data := child.receive():
                held += data
                while len(held) >= BLOCK_SAMPLES * frame_bytes:
                    samples += BLOCK_SAMPLES
                    child.allow(samples / rate_hz)
                    yield mixing.mixed(held[: BLOCK_SAMPLES * frame_bytes], mixer)
                    del held[: BLOCK_SAMPLES * frame_bytes]
            if len(held) >= frame_bytes:
                yield mixing.mixed(held[: len(held) // frame_bytes * frame_bytes], mixer)
            if not child.wait():
                raise NotAudio(f"The audio could not be decoded: {child.report.last_words()}.")
            self.damaged_packets += child.report.damaged_packets


class _Mixing:
    """How channels become those that are wanted: ffmpeg's arguments, and what is done after it."""

    def __init__(self, source_channels: int, channels: int, resampler: str, numbering: str) -> None:
        self._channels = channels
        self.read_channels = channels
        self._is_mono_mix = channels == 1 and source_channels > 1
        if self._is_mono_mix:
            # The mean as ffmpeg makes it, and behind it the channels themselves.
            self.read_channels = 1 + source_channels
            self.arguments = ["-filter_complex", mono_graph(resampler, source_channels, numbering)]
            self.arguments += ["-map", "[out]"]
        elif source_channels == 1:
            # It may be labelled left or centre; it must not be mixed by that label.
            self.read_channels = 1
            filters = f"{numbering},{FIRST_CHANNEL},{resampler}"
            self.arguments = ["-map", "0:a:0", "-ac", "1", "-af", filters]
        else:
            self.arguments = ["-map", "0:a:0", "-ac", str(channels)]
            self.arguments += ["-af", f"{numbering},{resampler}:ochl={channels}c:{IN_SCALE}"]

    def mixed(self, data: bytearray, mixer: MonoMixer) -> Sound:
        frames = np.frombuffer(data, "<f4").reshape(-1, self.read_channels)
        clean: Sound = frames.T
        if not np.isfinite(frames).all():
            # A file of float samples may hold NaN or infinity; a network turns one into a whole
            # segment of them.
            clean = np.nan_to_num(clean, nan=0.0, posinf=1.0, neginf=-1.0)
        if self._is_mono_mix:
            return mixer.mix(clean[0], clean[1:])[None]
        return np.repeat(clean, self._channels, axis=0) if len(clean) < self._channels else clean


def _even(blocks: Iterator[Sound]) -> Iterator[Sound]:
    """The same sound in blocks of BLOCK_SAMPLES; the last one is shorter."""
    held: list[Sound] = []
    samples = 0
    for block in blocks:
        held.append(block)
        samples += block.shape[1]
        while samples >= BLOCK_SAMPLES:
            joined = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
            yield joined[:, :BLOCK_SAMPLES]
            samples -= BLOCK_SAMPLES
            held = [joined[:, BLOCK_SAMPLES:]] if samples else []
    if samples:
        yield np.concatenate(held, axis=1)


def _header(path: Path) -> Header | None:
    """What ffmpeg finds in a file, decoding nothing."""
    with Child(RECORDING, path) as child:
        while child.receive():
            pass
        child.wait()
        return Header.of(child.report)


def _resampled(block: Sound, from_hz: int, to_hz: int) -> Sound:
    """A block of a few samples at another rate, one sample at least."""
    import soxr

    samples = max(1, round(block.shape[1] * to_hz / from_hz))
    padded = np.pad(block, ((0, 0), (0, round(TAIL_SHARE * from_hz))))
    return np.ascontiguousarray(soxr.resample(padded.T, from_hz, to_hz)[:samples].T, np.float32)
