"""Writes videos: sound, with a script that libass draws on a colour or a picture."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.audio.child import ChildFiles
from studio.audio.mixing import Mix, Song, mixed_blocks
from studio.audio.piped import LIMITER, metadata, write_piped
from studio.audio.writing import write_error
from studio.errors import InternalError

FRAMES_PER_S = 25
# Bits per second: at most for the picture, per pixel of a frame, and for the sound.
PICTURE_BITS_PER_PIXEL, MIN_PICTURE_BITS = 1.2, 200_000
SOUND_BITS = 192_000
# What the index at the beginning of a file takes, with room to spare.
INDEX_BYTES_PER_S, INDEX_BYTES = 2_500, 64 << 10
# Seconds between the frames that a player can jump to.
KEY_FRAME_S = 4
# Each thread of x264 takes memory: four need 0.48 GB for the largest frames.
MAX_THREADS, MEMORY_BYTES = 4, 1 << 30
SCRIPT, FONTS, PICTURE = "lyrics.ass", "fonts", "background.ppm"


@dataclass(frozen=True)
class Frame:
    """The size of a video in pixels, and its colour, as six hexadecimal digits."""

    width: int
    height: int
    colour: str


def max_video_bytes(frame: Frame, duration_s: float) -> int:
    """What a video takes at most."""
    bits = _picture_bits(frame) + 1.2 * SOUND_BITS
    return round(1.1 * duration_s * bits / 8) + _index_bytes(duration_s) + (1 << 20)


def write_video(
    target: Path,
    folder: Path,
    frame: Frame,
    mix: Mix,
    song: Song,
    *,
    on_wait: Callable[[], None],
) -> None:
    """Write an MP4 file with the script SCRIPT of `folder`, in the fonts of its folder FONTS.

    Its sound is a mix of a song. The picture PICTURE, if there is one, is its background. `on_wait`
    is called several times a second, and may raise to cancel. Raises DiskFull or NotAudio.
    """
    rate_hz, channels = song.rate_hz, song.channels
    duration_s = mix.samples(song.samples) / rate_hz
    bits = _picture_bits(frame)
    command = [
        *("-filter_complex", _filters(folder, frame, duration_s), "-map", "[video]", "-map", "0:a"),
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-crf", "23"),
        *("-maxrate", f"{bits}", "-bufsize", f"{2 * bits}", "-g", f"{KEY_FRAME_S * FRAMES_PER_S}"),
        *("-threads", f"{min(MAX_THREADS, os.cpu_count() or 1)}"),
        *(["-af", LIMITER] if mix.is_peak_safe else []),
        *("-c:a", "aac", "-b:a", f"{SOUND_BITS}", *metadata(mix.tags)),
        # The index is written into this space: a player needs it before anything else.
        *("-moov_size", f"{_index_bytes(duration_s)}", "-f", "mp4", "-fd", "1", "fd:"),
    ]
    with open(target, "w+b") as output:
        max_bytes = max_video_bytes(frame, duration_s)
        files = ChildFiles(folder, output, max_bytes, MEMORY_BYTES)
        failure = write_piped(
            command,
            mixed_blocks(mix, song),
            rate_hz,
            channels,
            files=files,
            on_wait=on_wait,
        )
    if failure is not None:
        raise write_error(target, InternalError(failure))


def _filters(folder: Path, frame: Frame, duration_s: float) -> str:
    """The picture of the video. The names in the filters are those of files in `folder`."""
    size, rate = f"{frame.width}x{frame.height}", FRAMES_PER_S
    background = f"color=c=0x{frame.colour}:s={size}:r={rate}"
    if (folder / PICTURE).exists():
        background = f"movie={PICTURE},loop=loop=-1:size=1,setpts=N/{rate}/TB,fps={rate}"
    length = f"trim=duration={duration_s:.6f}"
    return f"{background},{length},ass=filename={SCRIPT}:fontsdir={FONTS},format=yuv420p[video]"


def _picture_bits(frame: Frame) -> int:
    return max(MIN_PICTURE_BITS, round(PICTURE_BITS_PER_PIXEL * frame.width * frame.height))


def _index_bytes(duration_s: float) -> int:
    return INDEX_BYTES + math.ceil(INDEX_BYTES_PER_S * duration_s)
