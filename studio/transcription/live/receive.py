"""Converts chunks from clients to a continuous stream of speech: 16 kHz, mono, float32."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np

from studio.audio import StreamDecoder
from studio.errors import StudioError
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.events import SessionError
from studio.transcription.live.file_signatures import container_of
from studio.transcription.live.pcm import (
    MAX_CHANNELS,
    PCM,
    RATES_HZ,
    RFC_TYPES,
    PcmReceiver,
    pcm_format,
)


@dataclass(frozen=True)
class Container:
    """The demuxer of a container, and a pattern of the codecs allowed in its MIME type."""

    demuxer: str
    codecs: str


CONTAINERS = {
    "audio/webm": Container("matroska", r"opus|vorbis|pcm"),
    "audio/ogg": Container("ogg", r"opus|vorbis"),
    "audio/mp4": Container("mov", r"mp4a(\.\w+)*|aac|opus|alac|flac"),
}


class Receiver(Protocol):
    """Decodes chunks of one type, with state between chunks."""

    def seconds(self, data: bytes) -> float:
        """The duration of a chunk; 0 if unknown before decoding. Raises SessionError."""

    def is_new(self, data: bytes) -> bool:
        """Whether a new recording begins with this chunk."""

    def reject(self, data: bytes | None) -> None:
        """Note that a chunk could not be accepted now; None: nor will it be later."""

    def feed(self, data: bytes) -> Speech:
        """Add a chunk and return the decoded audio. Raises SessionError."""

    def finish(self) -> Speech:
        """End the recording and return the remaining audio. Raises SessionError."""

    def close(self) -> None:
        """Discard the rest."""


@dataclass(frozen=True)
class _Gap:
    """A rejected chunk that has not been sent again: its length, and its hash if it can be."""

    length: int
    digest: bytes | None

    def is_filled_by(self, data: bytes) -> bool:
        """Whether a chunk begins with the rejected one."""
        return self.digest == sha256(data[: self.length]).digest()


class ContainerReceiver:
    """WebM, Ogg or MP4 as produced by MediaRecorder, in chunks of any length.

    A gap would damage what follows it, so after a rejected chunk, it must come next.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._container = CONTAINERS[kind].demuxer
        self._decoder: StreamDecoder | None = None
        self._gap: _Gap | None = None

    def seconds(self, data: bytes) -> float:
        if self._gap is not None and not self._gap.is_filled_by(data):
            advice = "Start a new recording."
            if self._gap.digest is not None:
                advice = "Send them again in order, or start a new recording."
            raise SessionError(
                "too_far_behind",
                f"An earlier chunk of this recording was rejected, and so was this one. {advice}",
            )
        return 0.0

    def is_new(self, data: bytes) -> bool:
        container = container_of(data)
        if container is None or container.mime_type != self._kind:
            return False
        if self._decoder is None and self._gap is None:
            return False
        # Every Ogg page begins with its name; only the first page of a stream has this flag.
        return container.name != "Ogg" or data[5:6] == b"\x02"

    def reject(self, data: bytes | None) -> None:
        if data is None:
            self._gap = _Gap(0, None)
        else:
            self._gap = _Gap(len(data), sha256(data).digest())

    def feed(self, data: bytes) -> Speech:
        self._gap = None
        container = container_of(data) if self._decoder is None else None
        if container is not None and container.mime_type != self._kind:
            raise SessionError("bad_audio", container.refusal(self._kind))
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
    """The receiver for a MIME type. Raises SessionError."""
    kind, *parameters = re.sub(r'[\s"]', "", mime_type.lower()).split(";")
    try:
        if kind == PCM or kind in RFC_TYPES:
            return PcmReceiver(pcm_format(kind, parameters))
        if kind in CONTAINERS:
            _check_codecs(kind, parameters)
            return ContainerReceiver(kind)
        reason = ""
    except ValueError as error:
        reason = f": {error}"
    min_hz, max_hz = RATES_HZ
    raise SessionError(
        "unknown_mime_type",
        f"Unknown mimeType {mime_type[:80]!r}{reason}. Send audio/pcm;rate={RATE_HZ} "
        f"(rate {min_hz} to {max_hz}, channels 1 to {MAX_CHANNELS}, encoding int16, int24, "
        "int32, float32 or uint8), audio/webm;codecs=opus, audio/ogg or audio/mp4.",
    )


def _check_codecs(kind: str, parameters: list[str]) -> None:
    """Raise ValueError for an unsupported codec."""
    for parameter in parameters:
        name, _, codecs = parameter.partition("=")
        for codec in codecs.split(",") if name == "codecs" else []:
            if not re.fullmatch(CONTAINERS[kind].codecs, codec):
                raise ValueError(f"the codec {codec[:40]!r} is not supported")


def chunk_bytes(data: object, max_bytes: int) -> bytes:
    """The bytes of a binary or base64 chunk. Raises SessionError."""
    if isinstance(data, str):
        try:
            decoded = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise SessionError(
                "bad_audio", "`data` is a string, but not base64. The chunk was rejected."
            ) from None
    elif isinstance(data, bytes | bytearray | memoryview):
        decoded = bytes(data)
    else:
        raise SessionError(
            "bad_audio", "`payload.data` must be base64 text or binary. The chunk was rejected."
        )
    if len(decoded) > max_bytes:
        raise SessionError(
            "chunk_too_large",
            f"The chunk has {len(decoded):,} bytes; the maximum is {max_bytes:,}. Send shorter "
            "chunks.",
        )
    return decoded
