"""Raw samples (PCM) in all formats that a MIME type can describe."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from studio.audio import MonoMixer
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.events import SessionError
from studio.transcription.live.file_signatures import MAGIC_BYTES, container_of, mpeg_of

RATES_HZ = (8_000, 96_000)
MAX_CHANNELS = 8

# Sample sizes of RFC 3551 and RFC 3190; network byte order, 8 bits are unsigned.
RFC_TYPES = {"audio/l8": 8, "audio/l16": 16, "audio/l24": 24}
PCM = "audio/pcm"

# Parameter names that clients use, without hyphens and underscores.
_NAMES = {
    **dict.fromkeys(("rate", "samplerate"), "rate"),
    **dict.fromkeys(("channels", "channelcount", "numchannels"), "channels"),
    **dict.fromkeys(("bits", "bitdepth", "bitspersample", "samplesize"), "bits"),
    **dict.fromkeys(("encoding", "format", "sampleformat", "codec", "codecs"), "encoding"),
    **dict.fromkeys(("endian", "endianness", "byteorder"), "order"),
}
_ENCODING = re.compile(
    r"(?:l?pcm|linearpcm)?"
    r"(?P<kind>(?:un)?signed(?:int|integer)?|linear|u?int|float|[suif])?"
    r"(?P<bits>8|16|24|32|64)?(?P<order>le|be)?"
)
_KINDS: dict[str, Literal["int", "uint", "float"]] = {
    **dict.fromkeys(("s", "i", "int", "signed", "signedint", "signedinteger", "linear"), "int"),
    **dict.fromkeys(("u", "uint", "unsigned", "unsignedint", "unsignedinteger"), "uint"),
    **dict.fromkeys(("f", "float"), "float"),
}
_ORDERS = {"le": "<", "little": "<", "littleendian": "<", "be": ">", "big": ">", "bigendian": ">"}
_BITS = {"int": (8, 16, 24, 32), "uint": (8,), "float": (32, 64)}


@dataclass(frozen=True)
class PcmFormat:
    """A sample format; `order` is "<" (little-endian) or ">" (big-endian)."""

    rate_hz: int = RATE_HZ
    channels: int = 1
    kind: Literal["int", "uint", "float"] = "int"
    bits: int = 16
    order: Literal["<", ">"] = "<"

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame: one sample of every channel."""
        return self.channels * self.bits // 8

    def decode(self, data: bytes) -> npt.NDArray[np.float32]:
        """Whole frames as float32 (frames, channels), full scale 1.0."""
        if self.kind == "float":
            samples = np.frombuffer(data, f"{self.order}f{self.bits // 8}")
            scaled = np.clip(np.nan_to_num(samples, posinf=0.0, neginf=0.0), -1.0, 1.0)
        elif self.bits == 24:
            scaled = _int24(data, self.order) / float(1 << 31)
        elif self.kind == "uint":
            scaled = (np.frombuffer(data, "u1") - 128.0) / 128.0
        else:
            samples = np.frombuffer(data, f"{self.order}i{self.bits // 8}")
            scaled = samples / float(1 << (self.bits - 1))
        frames: npt.NDArray[np.float32] = scaled.astype(np.float32).reshape(-1, self.channels)
        return frames


def _int24(data: bytes, order: str) -> npt.NDArray[np.int32]:
    """24-bit samples as the upper bytes of 32-bit ones."""
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    position = 1 if order == "<" else 0
    padded[:, position : position + 3] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return padded.reshape(-1).view(f"{order}i4").astype(np.int32)


def pcm_format(kind: str, parameters: list[str]) -> PcmFormat:
    """The format that a MIME type describes. Raises ValueError.

    `kind` and `parameters` are in lower case, without spaces and quotes.
    """
    given: dict[str, str] = {}
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        known = _NAMES.get(re.sub("[-_]", "", name))
        if known is None:
            raise ValueError(f"the parameter {name[:40]!r} is unknown")
        _note(given, known, value)
    encoding = re.sub("[-_.]", "", given.pop("encoding", ""))
    parts = _ENCODING.fullmatch(encoding)
    if parts is None:
        raise ValueError(f"the encoding {encoding[:40]!r} is unknown")
    for name in ("bits", "order"):
        if parts[name]:
            _note(given, name, parts[name])
    if kind in RFC_TYPES:
        _note(given, "bits", str(RFC_TYPES[kind]))
        given.setdefault("order", ">")
        if "rate" not in given:
            raise ValueError(f"{kind} requires a rate")
    return _checked(given, _KINDS[parts["kind"]] if parts["kind"] else None)


def _note(given: dict[str, str], name: str, value: str) -> None:
    """Set a parameter. Raises ValueError if it contradicts an earlier value."""
    if name == "order":
        value = _ORDERS.get(re.sub("[-_]", "", value), value)
    if given.setdefault(name, value) != value:
        raise ValueError(f"{name} is both {given[name][:40]!r} and {value[:40]!r}")


def _checked(given: dict[str, str], kind: Literal["int", "uint", "float"] | None) -> PcmFormat:
    rate_hz = _number(given, "rate", RATE_HZ, range(RATES_HZ[0], RATES_HZ[1] + 1))
    channels = _number(given, "channels", 1, range(1, MAX_CHANNELS + 1))
    bits = _number(given, "bits", 32 if kind == "float" else 16, (8, 16, 24, 32, 64))
    # As in WAV: 8 bits are unsigned, larger samples signed.
    kind = kind or ("uint" if bits == 8 else "int")
    if bits not in _BITS[kind]:
        raise ValueError(f"there is no encoding {kind}{bits}")
    order = given.get("order", "<")
    if order not in ("<", ">"):
        raise ValueError(f"the byte order {order[:40]!r} is neither little nor big")
    return PcmFormat(rate_hz, channels, kind, bits, "<" if order == "<" else ">")


def _number(given: dict[str, str], name: str, default: int, allowed: Container[int]) -> int:
    text = given.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) not in allowed:
        raise ValueError(f"{name} is {text[:40]!r}")
    return int(text)


class PcmReceiver:
    """Mixes samples of one format to mono and resamples them continuously across chunks.

    A chunk may end within a sample; the rest is kept for the next chunk.
    """

    def __init__(self, pcm: PcmFormat) -> None:
        import soxr

        self._pcm = pcm
        self._mixer = MonoMixer(pcm.rate_hz)
        self._rest = b""
        self._head = b""
        self._refusal: SessionError | None = None
        self._resampler = (
            None
            if pcm.rate_hz == RATE_HZ
            else soxr.ResampleStream(pcm.rate_hz, RATE_HZ, 1, "float32")
        )

    def seconds(self, data: bytes) -> float:
        self._check(data)
        frames = (len(self._rest) + len(data)) // self._pcm.frame_bytes
        return frames / self._pcm.rate_hz

    def is_new(self, data: bytes) -> bool:
        return False

    def reject(self, data: bytes | None) -> None:
        """Samples that follow are read all the same."""

    def feed(self, data: bytes) -> Speech:
        self._head = (self._head + data)[:MAGIC_BYTES]
        data = self._rest + data
        whole = len(data) // self._pcm.frame_bytes * self._pcm.frame_bytes
        self._rest = data[whole:]
        frames = self._pcm.decode(data[:whole])
        mono = frames.mean(1, dtype=np.float32)
        if self._pcm.channels > 1:
            mono = self._mixer.mix(mono, frames.T)
        return mono if self._resampler is None else self._resampled(mono, False)

    def finish(self) -> Speech:
        rest = np.zeros(0, np.float32)
        return rest if self._resampler is None else self._resampled(rest, True)

    def close(self) -> None:
        pass

    def _check(self, data: bytes) -> None:
        """Raise SessionError if a file is sent instead of samples.

        If the recording begins with a file, all of it is rejected: the rest would become noise.
        """
        if self._refusal is not None:
            raise self._refusal
        is_beginning = len(self._head) < MAGIC_BYTES
        start = self._head + data if is_beginning else data
        container = container_of(start) or (mpeg_of(start) if is_beginning else None)
        if container is None:
            return
        error = SessionError("bad_audio", container.refusal("raw samples"))
        if is_beginning:
            self._refusal = error
        raise error

    def _resampled(self, mono: Speech, is_last: bool) -> Speech:
        assert self._resampler is not None
        resampled: Speech = self._resampler.resample_chunk(mono, last=is_last)
        return resampled
