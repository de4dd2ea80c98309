"""Recognises files by their first bytes, to distinguish them from raw samples."""

from dataclasses import dataclass

MAGIC_BYTES = 12


@dataclass(frozen=True)
class FileKind:
    """A file type; `mime_type` is None if it is not supported for live audio."""

    name: str
    mime_type: str | None = None

    def refusal(self, declared: str) -> str:
        """The error for a client that declared another type."""
        instead = f"say mimeType {self.mime_type}" if self.mime_type else "send raw samples"
        return (
            f"The chunk begins a file of the kind {self.name}, but its mimeType says {declared}. "
            f"The chunk was ignored. Send finish, then {instead}."
        )


_MAGIC = {
    b"\x1a\x45\xdf\xa3": FileKind("WebM", "audio/webm"),
    b"OggS": FileKind("Ogg", "audio/ogg"),
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64"), FileKind("WAV")),
    **dict.fromkeys((b"ID3\x02", b"ID3\x03", b"ID3\x04"), FileKind("MP3")),
    b"FORM": FileKind("AIFF"),
    b"caff": FileKind("CAF"),
    b"fLaC": FileKind("FLAC"),
    b"#!AM": FileKind("AMR"),
}
# Bit rates (kbit/s) and sample rates of MPEG-1 and MPEG-2 layer III, by header index.
_BITRATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
_RATES_HZ = ((44_100, 48_000, 32_000, 0), (22_050, 24_000, 16_000, 0), (11_025, 12_000, 8_000, 0))


def container_of(data: bytes) -> FileKind | None:
    """The type of the file that begins here; None if it may be samples."""
    if data[4:8] == b"ftyp":
        return FileKind("MP4", "audio/mp4")
    return _MAGIC.get(data[:4])


def mpeg_of(data: bytes) -> FileKind | None:
    """MP3 or AAC if a stream of frames begins here; None if it may be samples.

    Samples may look like a header, because it is short; so the next frame must follow too.
    """
    for name, frame_bytes in (("MP3", _mp3_frame_bytes), ("AAC", _adts_frame_bytes)):
        size = frame_bytes(data)
        if size and data[size : size + 2] == data[:2]:
            return FileKind(name)
    return None


def _mp3_frame_bytes(data: bytes) -> int:
    """The length of the MP3 frame that begins here; 0 if there is none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return 0
    version = {3: 0, 2: 1, 0: 2}.get(data[1] >> 3 & 3)
    if version is None:
        return 0
    bitrate = _BITRATES[min(version, 1)][data[2] >> 4]
    rate_hz = _RATES_HZ[version][data[2] >> 2 & 3]
    if not bitrate or not rate_hz:
        return 0
    return (144 if version == 0 else 72) * bitrate * 1000 // rate_hz + (data[2] >> 1 & 1)


def _adts_frame_bytes(data: bytes) -> int:
    """The length of the ADTS frame that begins here; 0 if there is none."""
    if len(data) < 6 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return 0
    return (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
