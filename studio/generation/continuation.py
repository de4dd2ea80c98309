"""Continues a track from given audio.

The track begins with the original audio, not with the codec's reconstruction of it. Its end is
cross-faded into the new music.
"""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt

from studio import audio
from studio.audio import Sound
from studio.errors import InvalidOption
from studio.generation.model import Codec, Codes, MusicModel
from studio.generation.stream import from_channels
from studio.generation.windows import max_context_frames
from studio.sources import Source

FADE_S = 0.1
MIN_S = 1.0

Blocks = npt.NDArray[np.float32]
"""float32 (tracks, channels, samples)."""


class Continuation:
    """The audio that a track continues, and its codes for the decoder. Empty if `source` is None.

    Exhaust `sound` first, then pass everything that is decoded to `joined`.
    """

    def __init__(self, model: MusicModel, codec: Codec, source: Source | None, rows: int) -> None:
        self._model = model
        self._codec = codec
        self._source = source
        self._rows = rows
        self.samples = 0
        self.codes: Codes = np.zeros((rows, model.spec.codebooks, 0), np.int64)
        self._tail = np.zeros((model.spec.channels, 0), np.float32)
        self._decoded = 0

    @property
    def frames(self) -> int:
        return int(self.codes.shape[2])

    @property
    def codes_start_s(self) -> float:
        """The time of the track at which `codes` begin."""
        spec = self._model.spec
        return (self.samples - self.frames * spec.frame_samples) / spec.sample_rate_hz

    def sound(self) -> Iterator[Sound]:
        """Yield the given audio except its end, which is cross-faded."""
        if self._source is None:
            return
        spec = self._model.spec
        heard = max_context_frames(spec) * spec.frame_samples
        held = self._tail
        with closing(
            audio.decode(
                self._source.path, spec.sample_rate_hz, spec.channels, self._source.duration_s
            )
        ) as blocks:
            for block in blocks:
                self.samples += block.shape[1]
                held = np.concatenate([held, block], axis=1)
                yield held[:, : max(0, held.shape[1] - heard)]
                held = held[:, max(0, held.shape[1] - heard) :]
        if held.shape[1] < MIN_S * spec.sample_rate_hz:
            raise InvalidOption(
                f"The audio of `continue_from` is shorter than {MIN_S:.0f} s, which is too "
                "short to continue. Use a longer file."
            )
        fade = round(FADE_S * spec.sample_rate_hz)
        yield held[:, : held.shape[1] - fade]
        self._tail = held[:, held.shape[1] - fade :]
        whole = held.shape[1] - held.shape[1] % spec.frame_samples
        codes = self._codec.encode(held[:, held.shape[1] - whole :])
        self.codes = np.repeat(from_channels(codes, spec.channels), self._rows, axis=0)

    def joined(self, decoded: Blocks) -> Iterator[Blocks]:
        """The decoded audio to write: the cross-fade, and everything after it."""
        fade = self._tail.shape[1]
        start = self.frames * self._model.spec.frame_samples - fade
        skip = min(max(0, start - self._decoded), decoded.shape[2])
        at = self._decoded + skip - start
        self._decoded += decoded.shape[2]
        block = decoded[:, :, skip:].copy()
        mixed = min(max(0, fade - at), block.shape[2])
        if mixed > 0:
            share = ((np.arange(at, at + mixed) + 0.5) / fade).astype(np.float32)
            given = self._tail[:, at : at + mixed]
            block[:, :, :mixed] = given * (1 - share) + block[:, :, :mixed] * share
        yield block
