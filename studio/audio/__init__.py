"""Sound in and out: the only place that runs ffmpeg or writes sound files.

Sound inside the program is float32 `(channels, samples)` with full scale at 1.0. Nothing here holds
a whole recording: decoding yields blocks, writing takes blocks.
"""

from studio.audio.child import ffmpeg_path
from studio.audio.decoding import decode
from studio.audio.mono import MonoMixer
from studio.audio.probing import Probe, probe
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.audio.stream import StreamDecoder
from studio.audio.tracks import encode_tracks, track_writers
from studio.audio.writing import (
    CONTENT_TYPES,
    ENCODINGS,
    SoundWriter,
    duration_s,
    encode,
    most_bytes,
    read_blocks,
    shared_gain,
)

__all__ = [
    "BLOCK_SAMPLES",
    "CONTENT_TYPES",
    "ENCODINGS",
    "MonoMixer",
    "Probe",
    "Sound",
    "SoundWriter",
    "StreamDecoder",
    "decode",
    "duration_s",
    "encode",
    "encode_tracks",
    "ffmpeg_path",
    "most_bytes",
    "probe",
    "read_blocks",
    "shared_gain",
    "track_writers",
]
