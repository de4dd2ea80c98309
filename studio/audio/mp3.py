"""The first frame of an MP3 file that is streamed: it tells players the length of the sound.

Without it, they play the silence that the encoder adds, and only guess the length. ffmpeg writes it
when the file is complete, but the number of samples is known before, and the frames that LAME makes
of them follow from it. It is a silent frame with a LAME tag:
http://gabriel.mp3-tech.org/mp3infotag.html
"""

import struct
from math import ceil

HEADER_BYTES = 4
# Samples of silence that LAME puts before the sound, and at least after it.
DELAY = 576
# Bit rates by their field in a frame header; those of MPEG-2 are also those of MPEG-2.5.
_MPEG_1_KBIT_S = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_KBIT_S = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)
# Bytes of a frame before its data, by whether it is MPEG-1 and whether it is mono.
_SIDE_BYTES = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
# The tag has the number of frames, their bytes, a table of places and the quality.
_ALL_FIELDS = 0x0F
_CONSTANT_RATE = 1


def info_frame(first: bytes, rate_hz: int, samples: int) -> bytes:
    """LAME's info frame, which belongs before frames of a constant bit rate.

    `first` is the beginning of these frames. The result is empty if there is no sound, or if MP3
    has no such rate.
    """
    if len(first) < HEADER_BYTES:
        return b""
    is_mpeg_1, is_mono = bool(first[1] & 0x08), first[3] >> 6 == 3
    kbit_s = (_MPEG_1_KBIT_S if is_mpeg_1 else _MPEG_2_KBIT_S)[first[2] >> 4]
    if _rate_hz(first) != rate_hz:
        # MP3 does not have the rate of the sound, so ffmpeg has resampled it.
        return b""
    frame_samples = 1152 if is_mpeg_1 else 576
    frame_bytes, fraction = divmod(frame_samples // 8 * 1000 * kbit_s, rate_hz)
    frames = ceil((samples + 2 * DELAY) / frame_samples)
    # Some frames are a byte longer, so that the rate is exact on average.
    size = frame_bytes * (1 + frames) + ceil((frames - 1) * fraction / rate_hz)
    after = frames * frame_samples - DELAY - samples

    header = first[:2] + bytes([first[2] & ~0x02, first[3]])
    tag = header + bytes(_SIDE_BYTES[is_mpeg_1, is_mono])
    tag += struct.pack(">4sIII", b"Info", _ALL_FIELDS, frames, min(size, 0xFFFFFFFF))
    tag += bytes(place * 256 // 100 for place in range(100)) + bytes(4)
    tag += b"LAME3.100" + bytes([_CONSTANT_RATE]) + bytes(10)
    tag += bytes([min(kbit_s, 255)]) + (DELAY << 12 | after).to_bytes(3, "big") + bytes(4)
    tag += struct.pack(">IH", min(size, 0xFFFFFFFF), 0)
    return (tag + _crc_16(tag).to_bytes(2, "big")).ljust(frame_bytes, b"\0")


def _rate_hz(header: bytes) -> int:
    """The sample rate of a frame. MPEG-2 has half of those of MPEG-1, MPEG-2.5 a quarter."""
    return _RATES_HZ[header[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[header[1] >> 3 & 3]


def _crc_16(data: bytes) -> int:
    """The checksum of the tag (CRC-16/ARC)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
