"""Decodes codes to audio as they arrive, with the same result as decoding all at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from studio.generation.model import Codec, CodecSpec, Codes, Hidden, Sounds

# Frames of context on each side for stateless parts; EnCodec's need three.
CONTEXT = 8


class Sliding:
    """Applies a network with CONTEXT frames of context on each side to a stream of frames.

    Its output has `scale` values per frame on the last axis.
    """

    def __init__(self, network: Callable[[Any], Any], scale: int) -> None:
        self._network = network
        self._scale = scale
        self._held: Any = None
        self._done = 0
        """Frames at the beginning of `_held` whose output has been returned."""

    def push(self, block: Any, is_last: bool) -> Any:
        """Append frames; return the output of frames with enough context, or None."""
        held = block if self._held is None else np.concatenate([self._held, block], axis=-1)
        self._held = held
        ready = held.shape[-1] - (0 if is_last else CONTEXT)
        if ready <= self._done:
            return None
        output = self._network(held)[..., self._done * self._scale : ready * self._scale]
        cut = max(0, ready - CONTEXT)
        self._held, self._done = held[..., cut:], ready - cut
        return output


class CodecStream:
    """Decodes `rows` tracks at once."""

    def __init__(self, codec: Codec, spec: CodecSpec) -> None:
        self._codec = codec
        self._channels = spec.channels
        self._embed = Sliding(codec.embed, 1)
        self._synthesise = Sliding(codec.synthesise, spec.frame_samples)
        self._state: Any = None

    def push(self, codes: Codes, is_last: bool) -> Sounds:
        """Append frames; return float32 (rows, channels, samples), with a slight delay."""
        rows = codes.shape[0]
        sound = self._decode(by_channel(codes, self._channels), is_last)
        if sound is None:
            return np.zeros((rows, self._channels, 0), np.float32)
        return sound.reshape(rows, self._channels, -1)

    def _decode(self, codes: Codes, is_last: bool) -> Sounds | None:
        embedded: Hidden | None = self._embed.push(codes, is_last)
        if embedded is None:
            return None
        hidden, self._state = self._codec.recur(embedded, self._state)
        output: Sounds | None = self._synthesise.push(hidden, is_last)
        return output


def by_channel(codes: Codes, channels: int) -> Codes:
    """(rows, codebooks, frames) -> (rows * channels, codebooks of one channel, frames)."""
    rows, codebooks, frames = codes.shape
    apart = codes.reshape(rows, codebooks // channels, channels, frames).swapaxes(1, 2)
    return np.ascontiguousarray(apart.reshape(rows * channels, codebooks // channels, frames))


def from_channels(codes: Codes, channels: int) -> Codes:
    """The inverse of `by_channel`."""
    rows, codebooks, frames = codes.shape
    together = codes.reshape(rows // channels, channels, codebooks, frames).swapaxes(1, 2)
    return np.ascontiguousarray(together.reshape(rows // channels, codebooks * channels, frames))
