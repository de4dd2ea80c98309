"""The containers and codecs that ffmpeg may read, and the errors for others.

The accepted codecs are in common use and have small, old, well-tested decoders. Decoders with a
history of memory errors or large state machines are excluded: DTS, TrueHD, the Windows Media
family, RealAudio, ATRAC, and the ADPCM variants of games.
"""

import re
from pathlib import Path

from studio.audio.ends import bits_of_integers
from studio.audio.report import Report
from studio.errors import AudioUnsupported

FORMATS = "mp3,wav,w64,flac,ogg,mov,aac,matroska,mpeg,aiff,amr"
# The extensions of files in each container, the usual one first.
FILE_TYPES = {
    "aac": ("aac",),
    "aiff": ("aiff", "aif"),
    "amr": ("amr",),
    "flac": ("flac",),
    "matroska": ("webm", "mkv", "mka"),
    "mov": ("m4a", "mp4", "mov"),
    "mp3": ("mp3", "mpga"),
    "mpeg": ("mpeg", "mpg"),
    "ogg": ("ogg", "oga", "opus"),
    "w64": ("wav",),
    "wav": ("wav",),
}
# By extension. The system's own table lacks most of them in small containers.
MEDIA_TYPES = {
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "amr": "audio/amr",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mka": "audio/x-matroska",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mpga": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "webm": "video/webm",
}
_PCM = (
    "pcm_u8,pcm_s8,pcm_alaw,pcm_mulaw,pcm_s16le,pcm_s16be,pcm_u16le,pcm_u16be,pcm_s24le,pcm_s24be,"
    "pcm_u24le,pcm_u24be,pcm_s32le,pcm_s32be,pcm_u32le,pcm_u32be,pcm_s64le,pcm_s64be,pcm_f16le,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
_SPEECH = "gsm,gsm_ms,amrnb,amrwb,g722,g726,g726le,speex,libspeex"
_ADPCM = "adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_yamaha"
_MUSIC = (
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,flac,alac,vorbis,libvorbis,opus,libopus,aac,aac_fixed,"
    "ac3,eac3"
)
CODECS = f"{_MUSIC},{_PCM},{_ADPCM},{_SPEECH}"

REMEDY = "Convert the file to FLAC, WAV or MP3, for example with `ffmpeg -i FILE audio.flac`."

# By the container size of a WAV sample, in bits.
_INTEGERS = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}

_NAMES = {
    "dts": "DTS",
    "truehd": "Dolby TrueHD",
    "mlp": "MLP",
    "ac4": "Dolby AC-4",
    "wmav1": "Windows Media Audio",
    "wmav2": "Windows Media Audio",
    "wmapro": "Windows Media Audio Pro",
    "wmalossless": "Windows Media Audio Lossless",
    "wmavoice": "Windows Media Audio Voice",
    "g723_1": "G.723.1",
    "g729": "G.729",
    "ilbc": "iLBC",
    "qcelp": "QCELP",
    "evrc": "EVRC",
    "qdm2": "QDesign Music",
    "atrac3": "ATRAC3",
    "atrac3p": "ATRAC3+",
    "truespeech": "TrueSpeech",
    "mace3": "MACE",
    "mace6": "MACE",
}
_UNOPENED = re.compile(r"\[dec:(\w+) @ .*\] Error while opening decoder")
_UNKNOWN = "Decoder (codec none) not found"


def decoder_of(path: Path, codec: str) -> list[str]:
    """Input options for files whose codec ffmpeg misdetects: fewer bits than the container size.

    It mistakes 24 bits in 32 for the floats of an old program, and reads 20 in 32 as 24.
    """
    if codec != "pcm_f24le" and codec not in _INTEGERS.values():
        return []
    decoder = _INTEGERS.get(bits_of_integers(path) or 0, codec)
    return [] if decoder == codec else ["-c:a", decoder]


def refused(report: Report, codec: str) -> AudioUnsupported | None:
    """The error if ffmpeg rejected the audio because its codec is not accepted."""
    if report.says(_UNKNOWN):
        return AudioUnsupported(f"The codec of the audio is not known. {REMEDY}")
    for line in report.lines:
        unopened = _UNOPENED.match(re.sub(r"^\[aist[^]]*\] ", "", line))
        if unopened and report.says(f"Codec ({unopened[1]}) not on whitelist"):
            name = _NAMES.get(codec)
            shown = f"{name} ({codec})" if name else codec
            return AudioUnsupported(
                f"The codec of the audio is {shown}, which is not accepted. {REMEDY}"
            )
    return None
