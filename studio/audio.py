"""Sound in and out: the only place that runs ffmpeg or writes sound files.

Sound inside the program is float32 `(channels, samples)` with full scale at 1.0. Nothing here holds
a whole recording: decoding yields blocks, writing takes blocks.
"""

import math
import re
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from studio.errors import AudioTruncated, AudioUnsupported, DiskFull, InternalError, NotAudio

Sound = npt.NDArray[np.float32]
"""float32 (channels, samples), full scale 1.0."""

BLOCK_SAMPLES = 1 << 17
SAMPLE_RATES_HZ = (8_000, 192_000)
MOST_CHANNELS = 8
PROBE_TIMEOUT_S = 60
# Up to this length the probe decodes the whole file, so that its answer is exact.
FULLY_PROBED_S = 60.0
TAIL_S = 3.0
STREAM_END_TIMEOUT_S = 30.0
# More sound than this from one piece of a stream is no recording of a voice, but a bomb.
STREAM_MOST_S = 600.0
# A fixed-point file holds less than full scale; lossy encoders overshoot a little on top.
FIXED_POINT_PEAK = 0.98
# A WAV header counts bytes in 32 bits; beyond that the same layout is called RF64.
WAV_MOST_BYTES = 0xFFFFFFFF - 4096

_FORMATS = "mp3,wav,w64,flac,ogg,mov,aac"
_CODECS = (
    "mp3,mp3float,flac,vorbis,libvorbis,opus,libopus,aac,aac_fixed,alac,pcm_u8,pcm_s16le,pcm_s24le,"
    "pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw,pcm_s16be,pcm_s24be,pcm_s32be,adpcm_ms,"
    "adpcm_ima_wav,speex,libspeex"
)

# What ffmpeg says of a file; texts in the file itself never begin a line of it.
_STREAM = re.compile(r"^ *Stream #0:\d+.*?: Audio: (\w+).*?, (\d+) Hz, ([^,\n]+)", re.M)
_DURATION = re.compile(r"^ *Duration: (\d+):(\d\d):(\d\d\.\d+)", re.M)

ENCODINGS: dict[str, dict[str, Any]] = {
    "wav": {"format": "WAV", "subtype": "FLOAT"},
    "flac": {"format": "FLAC", "subtype": "PCM_24"},
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "bitrate_mode": "VARIABLE",
        "compression_level": 0.1,
    },
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.3},
}
"""Formats a track can be had in, with what libsndfile is told. WAV is 32-bit float."""

CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
}


@dataclass(frozen=True)
class Probe:
    """What a sound file is: duration in seconds, rate in Hz, channel count, container, codec."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    container: str
    codec: str


@cache
def ffmpeg_path() -> str:
    """The ffmpeg binary: the one of the imageio-ffmpeg wheel, or the system's."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def probe(path: Path) -> Probe:
    """Look at a sound file and make sure that it decodes from its beginning to its end.

    Short files, and files whose header does not know their length, are decoded whole; for long
    ones the last seconds are decoded, which fails where a file is cut off.
    Raises NotAudio, AudioTruncated or AudioUnsupported.
    """
    report = _header(path)
    stream = _STREAM.search(report)
    if stream is None:
        if "moov atom not found" in report:
            raise AudioTruncated(
                "The MP4/M4A file is cut off: its index is missing. Upload it again."
            )
        raise NotAudio(
            "No sound was found in the file. Send an MP3, WAV, FLAC, M4A or OGG recording."
        )
    codec, rate_hz, channels = stream[1], int(stream[2]), _channel_count(stream[3])
    container = (re.search(r"Input #0, (.+?), from", report) or ["", "unknown"])[1]
    _check_supported(rate_hz, channels)
    declared = _DURATION.search(report)
    declared_s = (
        int(declared[1]) * 3600 + int(declared[2]) * 60 + float(declared[3]) if declared else None
    )
    exact = "Estimating duration" not in report and "concatenated file" not in report
    if declared_s is None or not exact or declared_s <= FULLY_PROBED_S:
        decoded_s = _decoded_s(path, rate_hz)
        if decoded_s == 0:
            raise NotAudio("The file has a sound header, but no sound can be decoded from it.")
        if declared_s is not None and exact and decoded_s < declared_s * 0.98 - 0.15:
            _raise_truncated(declared_s, decoded_s)
        return Probe(round(decoded_s, 6), rate_hz, channels, container, codec)
    if _decoded_s(path, rate_hz, from_s=declared_s - TAIL_S) == 0:
        _raise_truncated(declared_s, None)
    return Probe(declared_s, rate_hz, channels, container, codec)


def _header(path: Path) -> str:
    """What ffmpeg prints about a file, decoding nothing."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", *_input(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotAudio("The file could not be examined in time; it seems to be damaged.") from None
    return done.stderr.decode("utf-8", "replace")


def _input(path: Path) -> list[str]:
    guards = ["-protocol_whitelist", "file,pipe"]
    guards += ["-format_whitelist", _FORMATS, "-codec_whitelist", _CODECS]
    return [*guards, "-vn", "-sn", "-dn", "-i", f"file:{path}"]


def _channel_count(layout: str) -> int:
    """Channels of an ffmpeg layout name: "mono", "stereo", "5.1(side)", "12 channels"."""
    names = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8}
    base = layout.strip().split("(")[0].strip()
    if base in names:
        return names[base]
    if counted := re.match(r"(\d+) channels", base):
        return int(counted[1])
    if dotted := re.match(r"[\d.]+$", base):
        return sum(int(part) for part in dotted[0].split(".") if part)
    return MOST_CHANNELS + 1


def _check_supported(rate_hz: int, channels: int) -> None:
    least_hz, most_hz = SAMPLE_RATES_HZ
    if not least_hz <= rate_hz <= most_hz:
        raise AudioUnsupported(
            f"The sample rate is {rate_hz:,} Hz; {least_hz:,} to {most_hz:,} Hz are supported. "
            "Resample the file first."
        )
    if channels > MOST_CHANNELS:
        raise AudioUnsupported(
            f"The file has more than {MOST_CHANNELS} channels or an unknown layout. Mix it down "
            "to stereo first."
        )


def _raise_truncated(declared_s: float, decoded_s: float | None) -> None:
    found = "its end is missing" if decoded_s is None else f"only {decoded_s:.1f} s are there"
    raise AudioTruncated(
        f"The file promises {declared_s:.1f} s of sound, but {found}. Upload it again in full."
    )


def _decoded_s(path: Path, rate_hz: int, from_s: float = 0.0) -> float:
    """Seconds of sound that decode, starting `from_s` seconds into the file."""
    samples = 0
    for block in decode(path, rate_hz, channels=1, from_s=from_s):
        samples += block.shape[1]
    return samples / rate_hz


def decode(
    path: Path, sample_rate_hz: int, channels: int, from_s: float = 0.0
) -> Generator[Sound, None, None]:
    """Yield blocks float32 `(channels, samples)` of a file at `sample_rate_hz`.

    A mono file is copied to every channel at its own level; other layouts are mixed down as
    ffmpeg does. The child is ended when the generator is closed. Raises NotAudio when ffmpeg fails.
    """
    stream = _STREAM.search(_header(path))
    source_is_mono = stream is not None and _channel_count(stream[3]) == 1
    read_channels = 1 if source_is_mono else channels
    # A single channel may be labelled left or centre; it must not be mixed by that label.
    first = "pan=mono|c0=c0," if source_is_mono else ""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-v", "error"]
    command += ["-ss", f"{from_s:.3f}"] if from_s > 0 else []
    command += [*_input(path), "-map", "0:a:0", "-ac", str(read_channels)]
    command += ["-af", f"{first}aresample={sample_rate_hz}:filter_size=64:cutoff=0.98"]
    command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        )
        assert child.stdout is not None
        try:
            for block in _read_blocks(child.stdout, read_channels):
                yield np.repeat(block, channels, axis=0) if source_is_mono else block
            if child.wait() != 0:
                complaints.seek(0)
                said = complaints.read().decode("utf-8", "replace")
                raise NotAudio(f"The sound could not be decoded: {_last_words(said, path)}.")
        finally:
            child.stdout.close()
            if child.poll() is None:
                child.kill()
                child.wait()


def _last_words(said: str, path: Path) -> str:
    """The last line that ffmpeg said, without its own names and without the path."""
    line = said.strip().rpartition("\n")[2]
    line = re.sub(r"^(\[.*?\] )+", "", line)
    return line.replace(f"file:{path}", "the file").rstrip(".") or "ffmpeg gave no reason"


def _read_blocks(pipe: IO[bytes], channels: int) -> Iterator[Sound]:
    frame_bytes = 4 * channels
    while data := pipe.read(BLOCK_SAMPLES * frame_bytes):
        whole = len(data) - len(data) % frame_bytes
        frames = np.frombuffer(data[:whole], dtype="<f4").reshape(-1, channels)
        # A file of float samples may hold NaN or infinity; a network turns one into a whole
        # segment of them.
        yield np.nan_to_num(frames.T, nan=0.0, posinf=1.0, neginf=-1.0).astype(np.float32)


def read_blocks(path: Path) -> Iterator[Sound]:
    """Yield blocks float32 `(channels, samples)` of a track that `SoundWriter` wrote."""
    import soundfile

    with soundfile.SoundFile(str(path)) as file:
        while len(frames := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            yield np.ascontiguousarray(frames.T)


def duration_s(path: Path) -> float:
    """Seconds in a track that `SoundWriter` wrote."""
    import soundfile

    info = soundfile.info(str(path))
    return float(info.frames / info.samplerate)


class SoundWriter:
    """Writes one sound file block by block, and knows the highest peak it was given.

    `expected_samples` decides between WAV and RF64 (above 4 GiB). `gain` is applied to every
    sample. Raises DiskFull when the disk takes no more.
    """

    def __init__(
        self,
        path: Path,
        audio_format: str,
        sample_rate_hz: int,
        channels: int,
        expected_samples: int,
        gain: float = 1.0,
    ) -> None:
        import soundfile

        settings = dict(ENCODINGS[audio_format])
        if audio_format == "wav" and expected_samples * channels * 4 > WAV_MOST_BYTES:
            settings["format"] = "RF64"
        self.path = path
        self.gain = gain
        self.peak = 0.0
        try:
            self._file = soundfile.SoundFile(
                str(path), "w", samplerate=sample_rate_hz, channels=channels, **settings
            )
        except soundfile.LibsndfileError as error:
            raise _write_error(path, error) from error

    def write(self, block: Sound) -> None:
        """Append float32 `(channels, samples)`."""
        import soundfile

        if block.shape[1] == 0:
            return
        self.peak = max(self.peak, float(np.abs(block).max()))
        frames = np.ascontiguousarray(block.T)
        try:
            self._file.write(frames if self.gain == 1.0 else frames * np.float32(self.gain))
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise _write_error(self.path, error) from error

    def close(self) -> None:
        """Finish the file; its length is checked, because a full disk shows only here."""
        frames = self._file.frames
        self._file.close()
        import soundfile

        try:
            complete = soundfile.info(str(self.path)).frames >= frames
        except soundfile.LibsndfileError as error:
            raise _write_error(self.path, error) from error
        if not complete:
            raise _write_error(self.path, None)

    def __enter__(self) -> "SoundWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()


def _write_error(path: Path, error: Exception | None) -> Exception:
    import shutil

    if shutil.disk_usage(path.parent).free < 1 << 20:
        return DiskFull("The disk became full while writing a track. Free some space and retry.")
    return InternalError(f"The track {path.name} could not be written: {error}.")


def shared_gain(peaks: list[float]) -> float:
    """The one gain under which none of the tracks clips in a fixed-point file (at most 1)."""
    highest = max(peaks, default=0.0)
    return min(1.0, FIXED_POINT_PEAK / highest) if math.isfinite(highest) and highest > 0 else 1.0


def encode(
    source: Path,
    target: Path,
    audio_format: str,
    gain: float = 1.0,
    on_block: Callable[[float], None] | None = None,
) -> None:
    """Write a track in another format, block by block; `gain` keeps fixed-point ones whole.

    `on_block` is called with the share that is done; what it raises ends the encoding.
    """
    import soundfile

    info = soundfile.info(str(source))
    done = 0
    with SoundWriter(
        target, audio_format, info.samplerate, info.channels, info.frames, gain
    ) as writer:
        for block in read_blocks(source):
            writer.write(block)
            done += block.shape[1]
            if on_block is not None:
                on_block(done / info.frames)


class StreamDecoder:
    """Decodes one recording that comes in pieces of any length, as a browser records it.

    `container` is ffmpeg's name of its format (matroska, ogg). Sound comes out mono at `rate_hz`,
    as soon as ffmpeg has it.
    """

    def __init__(self, container: str, rate_hz: int) -> None:
        command = [ffmpeg_path(), "-hide_banner", "-v", "error"]
        command += ["-protocol_whitelist", "pipe", "-format_whitelist", container]
        command += ["-codec_whitelist", "opus,libopus,vorbis,libvorbis", "-probesize", "4096"]
        command += ["-fflags", "nobuffer", "-f", container, "-vn", "-sn", "-dn", "-i", "pipe:0"]
        command += ["-ac", "1", "-ar", str(rate_hz), "-f", "f32le", "-flush_packets", "1", "pipe:1"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._most_bytes = round(STREAM_MOST_S * rate_hz) * 4
        self._decoded = bytearray()
        self._lock = Lock()
        self._reader = Thread(target=self._read, name="stream-decoder", daemon=True)
        self._reader.start()

    def feed(self, data: bytes) -> npt.NDArray[np.float32]:
        """Take the next piece; what has been decoded so far, float32 (samples,).

        Raises NotAudio when the recording cannot be decoded.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise NotAudio("The recording cannot be decoded; begin a new one.") from None
        return self._taken()

    def finish(self) -> npt.NDArray[np.float32]:
        """The recording has ended; the rest of its sound. Raises NotAudio where it had none."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.close()
        except BrokenPipeError:
            pass
        self._reader.join(STREAM_END_TIMEOUT_S)
        in_time = not self._reader.is_alive()
        rest = self._taken()
        self.close()
        if not in_time or (self._child.returncode != 0 and len(rest) == 0):
            raise NotAudio("The recording could not be decoded to its end.")
        return rest

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child.poll() is None and self._reader.is_alive():
            self._child.kill()
        self._child.wait()
        self._reader.join()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        while data := self._child.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            with self._lock:
                self._decoded += data
                if len(self._decoded) > self._most_bytes:
                    self._child.kill()
                    return

    def _taken(self) -> npt.NDArray[np.float32]:
        with self._lock:
            whole = len(self._decoded) // 4 * 4
            samples = np.frombuffer(bytes(self._decoded[:whole]), "<f4")
            del self._decoded[:whole]
        clean: npt.NDArray[np.float32] = np.nan_to_num(samples).astype(np.float32)
        return clean
