"""Turns the chunks that clients send into speech: 16 kHz, mono, float32, in one unbroken stream."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Protocol

import numpy as np

from studio.audio import StreamDecoder
from studio.errors import StudioError
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.events import SessionError

RATES_HZ = (8_000, 96_000)
MOST_CHANNELS = 2
CONTAINERS = {"audio/webm": "matroska", "audio/ogg": "ogg"}
PCM = "audio/pcm"
# What every WebM file begins with.
EBML = b"\x1a\x45\xdf\xa3"


class Receiver(Protocol):
    """Decodes one kind of chunks, with the state that keeps them unbroken."""

    def seconds(self, data: bytes) -> float:
        """The length of a chunk, 0 where only decoding shows it. Raises SessionError."""

    def is_new(self, data: bytes) -> bool:
        """Whether another recording begins with this chunk."""

    def feed(self, data: bytes) -> Speech:
        """The sound that is ready once this chunk is taken. Raises SessionError."""

    def finish(self) -> Speech:
        """The rest of the sound; nothing follows. Raises SessionError."""

    def close(self) -> None:
        """Give up what is left."""


class PcmReceiver:
    """16-bit little-endian PCM of any rate, mono or stereo."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        import soxr

        self._channels = channels
        self._rate_hz = rate_hz
        self._resampler = (
            None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, 1, "float32")
        )

    def seconds(self, data: bytes) -> float:
        if len(data) % (2 * self._channels):
            raise SessionError(
                "bad_audio",
                f"The chunk has {len(data)} bytes, which is not a whole number of 16-bit samples "
                f"in {self._channels} channel(s). It was not taken.",
            )
        return len(data) / (2 * self._channels * self._rate_hz)

    def is_new(self, data: bytes) -> bool:
        return False

    def feed(self, data: bytes) -> Speech:
        samples = np.frombuffer(data, "<i2").reshape(-1, self._channels)
        mono = (samples.mean(1) / 32768.0).astype(np.float32)
        return mono if self._resampler is None else self._resampled(mono, False)

    def finish(self) -> Speech:
        rest = np.zeros(0, np.float32)
        return rest if self._resampler is None else self._resampled(rest, True)

    def close(self) -> None:
        pass

    def _resampled(self, mono: Speech, is_last: bool) -> Speech:
        assert self._resampler is not None
        resampled: Speech = self._resampler.resample_chunk(mono, last=is_last)
        return resampled


class ContainerReceiver:
    """WebM or Ogg as a browser's MediaRecorder makes them, in pieces of any length."""

    def __init__(self, container: str) -> None:
        self._container = container
        self._decoder: StreamDecoder | None = None

    def seconds(self, data: bytes) -> float:
        return 0.0

    def is_new(self, data: bytes) -> bool:
        is_first_page = data[:4] == b"OggS" and data[5:6] == b"\x02"
        return self._decoder is not None and (is_first_page or data[:4] == EBML)

    def feed(self, data: bytes) -> Speech:
        decoder = self._decoder = self._decoder or StreamDecoder(self._container, RATE_HZ)
        return self._checked(lambda: decoder.feed(data))

    def finish(self) -> Speech:
        if self._decoder is None:
            return np.zeros(0, np.float32)
        return self._checked(self._decoder.finish)

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    @staticmethod
    def _checked(step: Callable[[], Speech]) -> Speech:
        try:
            return step()
        except StudioError as error:
            raise SessionError("bad_audio", error.sentence) from error


def receiver(mime_type: str) -> Receiver:
    """The receiver of a MIME type. Raises SessionError with the types that are known."""
    kind, *parameters = re.sub(r'[\s"]', "", mime_type.lower()).split(";")
    values = dict(part.split("=", 1) for part in parameters if "=" in part)
    if kind in CONTAINERS:
        return ContainerReceiver(CONTAINERS[kind])
    rate, channels = values.get("rate", str(RATE_HZ)), values.get("channels", "1")
    least_hz, most_hz = RATES_HZ
    if (
        kind == PCM
        and re.fullmatch(r"\d{4,6}", rate)
        and least_hz <= int(rate) <= most_hz
        and channels in ("1", "2")
    ):
        return PcmReceiver(int(rate), int(channels))
    raise SessionError(
        "unknown_mime_type",
        f"mimeType {mime_type[:80]!r} is not known. Send audio/pcm;rate={RATE_HZ} (rate "
        f"{least_hz} to {most_hz}, channels=1 or 2), audio/webm;codecs=opus or audio/ogg.",
    )


def chunk_bytes(data: object, most_bytes: int) -> bytes:
    """The bytes of a chunk: binary, or base64 text. Raises SessionError."""
    if isinstance(data, str):
        try:
            decoded = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise SessionError(
                "bad_audio", "data is text, but not base64. The chunk was not taken."
            ) from None
    elif isinstance(data, bytes | bytearray | memoryview):
        decoded = bytes(data)
    else:
        raise SessionError(
            "bad_audio", "payload.data must be base64 text or binary. The chunk was not taken."
        )
    if len(decoded) > most_bytes:
        raise SessionError(
            "chunk_too_large",
            f"The chunk has {len(decoded):,} bytes; at most {most_bytes:,} are taken at once. Send "
            "shorter ones.",
        )
    return decoded
