"""Reading and writing audio: only this package runs ffmpeg or writes audio files.

Audio in memory is float32 `(channels, samples)` with full scale 1.0. Nothing here holds a whole
recording: decoding yields blocks, and writing takes blocks.
"""

from studio.audio.accepted import MEDIA_TYPES
from studio.audio.child import ffmpeg_path
from studio.audio.decoding import decode
from studio.audio.loudness import LoudnessMeter, integrated_lufs
from studio.audio.mixing import Mix, Overlay, Song, mix_bytes, mixed_file
from studio.audio.mono import MonoMixer
from studio.audio.peaks import FINE, PEAKS_FORMATS, PEAKS_TYPE, max_peaks_bytes, write_peaks
from studio.audio.pictures import MAX_BYTES as MAX_PICTURE_BYTES
from studio.audio.pictures import background, read_picture
from studio.audio.probing import Probe, probe
from studio.audio.samples import pcm_16, wav_header
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.audio.stream import StreamDecoder
from studio.audio.tags import NO_TAGS, Tags, read_all_tags, read_tags, without_controls
from studio.audio.tracks import encode_tracks, join_tracks, track_writers
from studio.audio.video import FONTS, PICTURE, SCRIPT, Frame, max_video_bytes, write_video
from studio.audio.writing import (
    CONTENT_TYPES,
    ENCODINGS,
    FLAC_CHANNELS,
    MP3_RATES_HZ,
    AudioFormat,
    SoundWriter,
    duration_s,
    encode,
    max_bytes,
    max_mp3_bytes,
    read_blocks,
    shared_gain,
)

__all__ = [
    "BLOCK_SAMPLES",
    "CONTENT_TYPES",
    "ENCODINGS",
    "FINE",
    "FLAC_CHANNELS",
    "FONTS",
    "MAX_PICTURE_BYTES",
    "MEDIA_TYPES",
    "MP3_RATES_HZ",
    "NO_TAGS",
    "PEAKS_FORMATS",
    "PEAKS_TYPE",
    "PICTURE",
    "SCRIPT",
    "AudioFormat",
    "Frame",
    "LoudnessMeter",
    "Mix",
    "MonoMixer",
    "Overlay",
    "Probe",
    "Song",
    "Sound",
    "SoundWriter",
    "StreamDecoder",
    "Tags",
    "background",
    "decode",
    "duration_s",
    "encode",
    "encode_tracks",
    "ffmpeg_path",
    "integrated_lufs",
    "join_tracks",
    "max_bytes",
    "max_mp3_bytes",
    "max_peaks_bytes",
    "max_video_bytes",
    "mix_bytes",
    "mixed_file",
    "pcm_16",
    "probe",
    "read_all_tags",
    "read_blocks",
    "read_picture",
    "read_tags",
    "shared_gain",
    "track_writers",
    "wav_header",
    "without_controls",
    "write_peaks",
    "write_video",
]
