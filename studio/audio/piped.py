"""Streams generated sound through ffmpeg: effects and encoding."""

import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import numpy as np

from studio.audio.child import GUARDS, INPUT, Child, ChildFiles
from studio.audio.id3 import id3
from studio.audio.mp3 import HEADER_BYTES, info_frame
from studio.audio.pictures import (
    FLAC_HEAD_BYTES,
    OGG_TAGS_INPUT,
    OGG_TAGS_OUTPUT,
    with_flac_picture,
    write_ogg_tags,
)
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.audio.tags import Tags
from studio.errors import InternalError

SAMPLE_BYTES = 4
# MP3 has a constant bit rate, so that its size is known before.
_ENCODERS = {
    "flac": ["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24", "-f", "flac"],
    "mp3": ["-c:a", "libmp3lame", "-b:a", "256k", "-write_xing", "0", "-id3v2_version", "0"],
    "ogg": ["-c:a", "libvorbis", "-q:a", "7", "-f", "ogg"],
}
# ffmpeg's encoder of FLAC writes nothing for fewer samples.
_MIN_FLAC_SAMPLES = 16
# Samples above this are limited, gently and before they arrive.
LIMITER = "alimiter=limit=0.98:attack=5:release=50:level=disabled:latency=1"
# Processor time of effects and encoders of sound, and of video, as a multiple of that of decoding.
_EFFORT, _VIDEO_EFFORT = 10, 40
# Offset of the number of samples in a FLAC file: its lowest 36 bits, of 8 bytes.
_FLAC_SAMPLES = 18
# The WAV format tag of float samples, and the largest 32-bit number.
_FLOAT, _MAX_32 = 3, 0xFFFFFFFF


def stretched(
    blocks: Iterable[Sound], rate_hz: int, channels: int, *, semitones: float, tempo: float
) -> Generator[Sound, None, None]:
    """The same sound in another key and tempo, which do not affect each other (Rubber Band)."""
    pitch = 2 ** (semitones / 12)
    effect = f"rubberband=tempo={tempo:.6f}:pitch={pitch:.9f}:pitchq=quality:channels=together"
    command = ["-af", effect, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    frame_bytes = SAMPLE_BYTES * channels
    held = bytearray()
    with _fed(command, blocks, rate_hz, channels) as output:
        for data in output:
            held += data
            while len(held) >= BLOCK_SAMPLES * frame_bytes:
                yield _sound(held[: BLOCK_SAMPLES * frame_bytes], channels)
                del held[: BLOCK_SAMPLES * frame_bytes]
    if held:
        yield _sound(held[: len(held) // frame_bytes * frame_bytes], channels)


def of_length(blocks: Iterable[Sound], channels: int, samples: int) -> Iterator[Sound]:
    """The same sound cut to a length, or followed by silence up to it."""
    left = samples
    for block in blocks:
        yield block[:, :left]
        left -= min(left, block.shape[1])
    while left:
        length = min(left, BLOCK_SAMPLES)
        yield np.zeros((channels, length), np.float32)
        left -= length


def encoded(
    blocks: Iterable[Sound],
    audio_format: str,
    rate_hz: int,
    channels: int,
    samples: int,
    *,
    tags: Tags,
    is_peak_safe: bool = False,
) -> Generator[bytes, None, None]:
    """A file of `samples` samples, piece by piece. Peaks beyond full scale are cut or limited.

    FLAC has silence after fewer than 16 samples. The first piece has sound, so an error before it
    can still be answered.
    """
    head = b""
    if audio_format == "flac" and samples < _MIN_FLAC_SAMPLES:
        samples = _MIN_FLAC_SAMPLES
        blocks = of_length(blocks, channels, samples)
    if audio_format == "wav":
        head = _wav_header(rate_hz, channels, samples)
    elif audio_format == "mp3":
        head = id3(tags)
    pieces: Generator[bytes, None, None]
    if audio_format == "wav" and not is_peak_safe:
        pieces = (block.T.astype("<f4").tobytes() for block in blocks)
    else:
        command = ["-af", LIMITER] if is_peak_safe else []
        pieces = _piped(
            command, blocks, audio_format, rate_hz, channels, samples=samples, tags=tags
        )
    with closing(pieces):
        yield head + next(pieces, b"")
        yield from pieces


def _piped(
    command: list[str],
    blocks: Iterable[Sound],
    audio_format: str,
    rate_hz: int,
    channels: int,
    *,
    samples: int,
    tags: Tags,
) -> Generator[bytes, None, None]:
    """What ffmpeg makes of the blocks, with its options `command`; without WAV header and ID3."""
    if audio_format == "wav":
        command = [*command, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    else:
        encoder = [*_ENCODERS[audio_format], *metadata(tags)]
        command = [*command, *encoder, "-f", audio_format, "pipe:1"]
    with ExitStack() as stack:
        files = None
        if audio_format == "ogg" and tags.picture is not None:
            folder = stack.enter_context(TemporaryDirectory(prefix="audio-studio-"))
            files = ChildFiles(Path(folder))
            write_ogg_tags(files.folder, tags.picture, tags.texts())
            command = [*OGG_TAGS_INPUT, *OGG_TAGS_OUTPUT, *command]
        output = stack.enter_context(_fed(command, blocks, rate_hz, channels, files))
        if audio_format == "flac":
            head = _beginning(output, FLAC_HEAD_BYTES)
            yield with_flac_picture(_with_length(head, samples), tags.picture)
        elif audio_format == "mp3":
            head = _beginning(output, HEADER_BYTES)
            yield info_frame(head, rate_hz, samples) + head
        yield from output


def wav_bytes(channels: int, samples: int) -> int:
    """The size of the WAV file that `encoded` makes."""
    return len(_wav_header(1, channels, samples)) + SAMPLE_BYTES * channels * samples


def metadata(tags: Tags) -> list[str]:
    return [part for name, text in tags.texts().items() for part in ("-metadata", f"{name}={text}")]


def _sound(data: bytes | bytearray, channels: int) -> Sound:
    return np.frombuffer(bytes(data), "<f4").reshape(-1, channels).T


def _beginning(output: Iterator[bytes], size: int) -> bytes:
    """At least `size` bytes, or everything if there is less."""
    head = b""
    while len(head) < size and (data := next(output, b"")):
        head += data
    return head


def _with_length(data: bytes, samples: int) -> bytes:
    """The beginning of a FLAC file, which does not know its length, with the length."""
    place = slice(_FLAC_SAMPLES, _FLAC_SAMPLES + 8)
    fields = int.from_bytes(data[place], "big") >> 36 << 36
    return data[: place.start] + (fields | samples).to_bytes(8, "big") + data[place.stop :]


def _wav_header(rate_hz: int, channels: int, samples: int) -> bytes:
    """The header of 32-bit float WAV, or of RF64 if the file is too large for it."""
    frame_bytes = SAMPLE_BYTES * channels
    data_bytes = frame_bytes * samples
    form = (_FLOAT, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * SAMPLE_BYTES)
    chunks = struct.pack("<4sIHHIIHH", b"fmt ", 16, *form)
    chunks += struct.pack("<4sII", b"fact", 4, min(samples, _MAX_32))
    size = 4 + len(chunks) + 8 + data_bytes
    if data_bytes + 1024 <= _MAX_32:
        head = struct.pack("<4sI4s", b"RIFF", size, b"WAVE")
        return head + chunks + struct.pack("<4sI", b"data", data_bytes)
    head = struct.pack("<4sI4s", b"RF64", _MAX_32, b"WAVE")
    head += struct.pack("<4sIQQQI", b"ds64", 28, size + 36, data_bytes, samples, 0)
    return head + chunks + struct.pack("<4sI", b"data", _MAX_32)


class _Feeder:
    """Sends blocks to a child in a separate thread; `error` is what producing them raised."""

    def __init__(self, child: Child, blocks: Iterable[Sound]) -> None:
        self.error: BaseException | None = None
        self.samples = 0
        self._child = child
        self._blocks = blocks
        self._thread = Thread(target=self._feed, name="sound-feeder", daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _feed(self) -> None:
        try:
            for block in self._blocks:
                self.samples += block.shape[1]
                data = block.T.astype("<f4").tobytes()
                try:
                    self._child.send(data, patience_s=None)
                except OSError:
                    # ffmpeg has ended; its reader gets the error.
                    return
        except BaseException as error:
            self.error = error
        finally:
            if close := getattr(self._blocks, "close", None):
                close()
            with suppress(OSError):
                self._child.send_end()


def write_piped(
    command: list[str],
    blocks: Iterable[Sound],
    rate_hz: int,
    channels: int,
    *,
    files: ChildFiles,
    on_wait: Callable[[], None],
) -> str | None:
    """Run an ffmpeg that reads blocks and writes a file; why it failed, or None.

    Raises what producing the blocks or `on_wait` raised.
    """
    with _feeding(command, blocks, rate_hz, channels, files) as (child, feeder):

        def wait() -> None:
            child.allow(_VIDEO_EFFORT * feeder.samples / rate_hz)
            on_wait()

        child.drain_messages(wait)
        feeder.join()
        if feeder.error is not None:
            raise feeder.error
        return None if child.wait() else child.report.last_words()


@contextmanager
def _fed(
    command: list[str],
    blocks: Iterable[Sound],
    rate_hz: int,
    channels: int,
    files: ChildFiles | None = None,
) -> Iterator[Iterator[bytes]]:
    """The output of an ffmpeg that reads blocks; raises what producing them raised."""
    with _feeding(command, blocks, rate_hz, channels, files) as (child, feeder):
        yield _output(child, feeder, rate_hz)


@contextmanager
def _feeding(
    command: list[str],
    blocks: Iterable[Sound],
    rate_hz: int,
    channels: int,
    files: ChildFiles | None,
) -> Iterator[tuple[Child, _Feeder]]:
    start = ["-v", "error", *GUARDS, "-f", "f32le", "-ar", str(rate_hz), "-ac", str(channels)]
    with Child([*start, *INPUT, *command], None, files) as child:
        feeder = _Feeder(child, blocks)
        try:
            yield child, feeder
        finally:
            child.kill()
            feeder.join()


def _output(child: Child, feeder: _Feeder, rate_hz: int) -> Iterator[bytes]:
    # Wait without a limit: the producer of the sound has its own.
    while data := child.receive(is_live=True):
        # Encoders write headers even if no sound arrives.
        if feeder.error is not None:
            break
        child.allow(_EFFORT * feeder.samples / rate_hz)
        yield data
    feeder.join()
    if feeder.error is not None:
        raise feeder.error
    if not child.wait():
        raise InternalError(f"The mix could not be made: {child.report.last_words()}.")
