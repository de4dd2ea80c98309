"""Writes tracks, reads them back, and writes them in other formats."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from studio.audio.accepted import MEDIA_TYPES
from studio.audio.id3 import id3, prepend
from studio.audio.pictures import add_flac_picture, add_ogg_picture
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.audio.tags import NO_TAGS, Tags
from studio.errors import DiskFull, InternalError

# A fixed-point file holds less than full scale; lossy encoders overshoot a little on top.
FIXED_POINT_PEAK = 0.98
# A WAV header counts bytes in 32 bits; beyond that the same layout is called RF64.
MAX_WAV_BYTES = 0xFFFFFFFF - 4096

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
"""The formats of tracks, with the settings of libsndfile. WAV is 32-bit float."""

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
FLAC_CHANNELS = 8

# The sample rates of MPEG-1, which every player plays.
MP3_RATES_HZ = (32_000, 44_100, 48_000)

CONTENT_TYPES = {audio_format: MEDIA_TYPES[audio_format] for audio_format in ENCODINGS}

# What a file takes at most, as a share of the same track as WAV: of 32 bits a sample FLAC keeps 24,
# and MP3, the larger of the lossy ones, has at most 320 kbit/s, as mono of 32 kHz too.
MAX_SHARE_OF_WAV = {"wav": 1.0, "flac": 0.8, "mp3": 0.35, "ogg": 0.35}
# Headers and tables, which a short track has as well.
MAX_OVERHEAD_BYTES = 16 << 10


def max_bytes(source: Path, audio_format: str) -> int:
    """Bytes that a track which `SoundWriter` wrote as WAV takes at most in a format."""
    return _share(source.stat().st_size, audio_format)


def max_mp3_bytes(samples: int, channels: int) -> int:
    """Bytes that a recording takes at most as MP3, without a picture."""
    return _share(4 * samples * channels, "mp3")


def _share(wav_bytes: int, audio_format: str) -> int:
    return round(wav_bytes * MAX_SHARE_OF_WAV[audio_format]) + MAX_OVERHEAD_BYTES


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
    sample. `tags` are written into MP3, FLAC and OGG. Raises DiskFull if the disk is full.
    """

    def __init__(
        self,
        path: Path,
        audio_format: str,
        sample_rate_hz: int,
        channels: int,
        expected_samples: int,
        *,
        gain: float = 1.0,
        tags: Tags = NO_TAGS,
    ) -> None:
        import soundfile

        class File(soundfile.SoundFile):  # type: ignore[misc]
            def flush(self) -> None:
                """`close` would wait for the disk here, as publishing the track does once more."""

        settings = dict(ENCODINGS[audio_format])
        if audio_format == "wav" and expected_samples * channels * 4 > MAX_WAV_BYTES:
            settings["format"] = "RF64"
        self.path = path
        self.gain = gain
        self.peak = 0.0
        self._format, self._tags = audio_format, tags
        try:
            self._file = File(
                str(path), "w", samplerate=sample_rate_hz, channels=channels, **settings
            )
        except soundfile.LibsndfileError as error:
            raise write_error(path, error) from error
        if audio_format in ("flac", "ogg"):
            for name, text in tags.texts().items():
                setattr(self._file, name, text)

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
            raise write_error(self.path, error) from error

    def close(self) -> None:
        """Finish the file, once; its length is checked, because a full disk shows only here."""
        if self._file.closed:
            return
        frames = self._file.frames
        self._file.close()
        import soundfile

        try:
            complete = soundfile.info(str(self.path)).frames >= frames
        except soundfile.LibsndfileError as error:
            raise write_error(self.path, error) from error
        if not complete:
            raise write_error(self.path, None)
        self._add_tags()

    def _add_tags(self) -> None:
        """Add what libsndfile does not write."""
        picture = self._tags.picture
        if self._format == "mp3":
            prepend(self.path, id3(self._tags))
        elif picture is not None and self._format == "flac":
            add_flac_picture(self.path, picture)
        elif picture is not None and self._format == "ogg":
            try:
                add_ogg_picture(self.path, picture, self._tags.texts())
            except InternalError as error:
                raise write_error(self.path, error) from error

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


def write_error(path: Path, error: Exception | None) -> Exception:
    """The error for callers if a file of a track cannot be written."""
    import shutil

    if shutil.disk_usage(path.parent).free < 1 << 20:
        return DiskFull(
            "The disk became full while a track was being written. Free some space and retry."
        )
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
    *,
    tags: Tags = NO_TAGS,
) -> None:
    """Write a track in another format, block by block. `gain` keeps fixed-point ones from clipping.

    `on_block` is called with the share that is done; what it raises ends the encoding.
    """
    import soundfile

    info = soundfile.info(str(source))
    done = 0
    with SoundWriter(
        target, audio_format, info.samplerate, info.channels, info.frames, gain=gain, tags=tags
    ) as writer:
        for block in read_blocks(source):
            writer.write(block)
            done += block.shape[1]
            if on_block is not None:
                on_block(done / info.frames)
