"""Decodes recordings into blocks."""

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from studio.audio.child import RECORDING, Child
from studio.audio.header import Header
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.errors import NotAudio

# Where it is not known how much sound there should be, no more than this is decoded.
LONGEST_S = 86_400.0
# There may be a little more than was found when the recording was examined.
MORE = 1.02
MORE_S = 2.0
FIRST_CHANNEL = "pan=mono|c0=c0"
RESAMPLER = "filter_size=64:cutoff=0.98"
# Silence after a sound that is shorter than the resampler's filter.
TAIL_SHARE = 0.01


def decode(
    path: Path, sample_rate_hz: int, channels: int, expected_s: float = LONGEST_S
) -> Generator[Sound, None, None]:
    """Yield blocks float32 `(channels, samples)` of a file at `sample_rate_hz`.

    A mono file is copied to every channel at its own level; other layouts are mixed down as
    ffmpeg does. The child is ended when the generator is closed. Raises NotAudio when the file
    cannot be decoded, or decodes to clearly more than `expected_s`.
    """
    header = _header(path)
    # A single channel may be labelled left or centre; it must not be mixed by that label.
    filters = [FIRST_CHANNEL] if header is not None and header.channels == 1 else []
    read_channels = 1 if filters else channels
    resampler = f"aresample={sample_rate_hz}:{RESAMPLER}"
    samples = 0
    for block in _blocks(path, [*filters, resampler], read_channels, sample_rate_hz):
        samples += block.shape[1]
        if samples > (MORE * expected_s + MORE_S) * sample_rate_hz:
            raise NotAudio(
                f"The file seemed to hold {expected_s:,.1f} s of sound, but it decodes to more. "
                "Convert it and upload it again."
            )
        yield _spread(block, channels)
    if samples == 0 and header is not None:
        # ffmpeg's resampler gives nothing for less than half of its filter.
        for block in _blocks(path, filters, read_channels, header.rate_hz):
            yield _spread(_resampled(block, header.rate_hz, sample_rate_hz), channels)


def _header(path: Path) -> Header | None:
    """What ffmpeg finds in a file, decoding nothing."""
    with Child(RECORDING, path) as child:
        while child.receive():
            pass
        child.wait()
        return Header.of(child.report)


def _blocks(path: Path, filters: list[str], channels: int, rate_hz: int) -> Iterator[Sound]:
    """Blocks of BLOCK_SAMPLES; the last one is shorter."""
    command = ["-v", "error", *RECORDING, "-map", "0:a:0", "-ac", str(channels)]
    command += ["-af", ",".join(filters)] if filters else []
    command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
    frame_bytes = 4 * channels
    samples = 0
    held = bytearray()
    with Child(command, path) as child:
        while data := child.receive():
            held += data
            while len(held) >= BLOCK_SAMPLES * frame_bytes:
                samples += BLOCK_SAMPLES
                child.allow(samples / rate_hz)
                yield _sound(held[: BLOCK_SAMPLES * frame_bytes], channels)
                del held[: BLOCK_SAMPLES * frame_bytes]
        if len(held) >= frame_bytes:
            yield _sound(held[: len(held) // frame_bytes * frame_bytes], channels)
        if not child.wait():
            raise NotAudio(f"The sound could not be decoded: {child.report.last_words()}.")


def _sound(data: bytearray, channels: int) -> Sound:
    frames = np.frombuffer(data, "<f4").reshape(-1, channels)
    # A file of float samples may hold NaN or infinity; a network turns one into a whole segment of
    # them.
    clean: Sound = np.nan_to_num(frames.T, nan=0.0, posinf=1.0, neginf=-1.0).astype(np.float32)
    return clean


def _spread(block: Sound, channels: int) -> Sound:
    """The block with a single channel copied to all."""
    return np.repeat(block, channels, axis=0) if len(block) < channels else block


def _resampled(block: Sound, from_hz: int, to_hz: int) -> Sound:
    """A block of a few samples at another rate, one sample at least."""
    import soxr

    samples = max(1, round(block.shape[1] * to_hz / from_hz))
    padded = np.pad(block, ((0, 0), (0, round(TAIL_SHARE * from_hz))))
    return np.ascontiguousarray(soxr.resample(padded.T, from_hz, to_hz)[:samples].T, np.float32)
