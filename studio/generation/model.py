"""The interfaces of the parts of a music model, which every engine implements.

Music is a sequence of frames (50 per second) with one code per codebook. A decoder predicts the
codes; a codec converts frames to audio and back.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from studio.audio import Sound

Codes = npt.NDArray[np.int64]
"""int64 (rows, codebooks, frames). For stereo, left and right codebooks alternate."""

States = npt.NDArray[np.float32]
"""float32 (2, tokens, hidden): encoder states with the prompt, and without one."""

Logits = npt.NDArray[np.float32]
"""float32 (rows, codebooks, vocabulary), unnormalised log probabilities of the next codes."""

Sounds = npt.NDArray[np.float32]
"""float32 (rows, samples), full scale 1.0."""

Flags = npt.NDArray[np.bool_]
"""bool (codebooks, positions)."""

Hidden = npt.NDArray[np.float32]
"""float32 (rows, channels, frames) inside the codec."""


@dataclass(frozen=True)
class CodecSpec:
    """The format of a model's audio and codes.

    `window_frames` is the context length it was trained with, `guidance_scale` the recommended
    guidance.
    """

    sample_rate_hz: int
    channels: int
    frame_samples: int
    codebooks: int
    vocabulary: int
    window_frames: int
    guidance_scale: float

    @property
    def frames_per_s(self) -> float:
        return self.sample_rate_hz / self.frame_samples

    @property
    def delays(self) -> list[int]:
        """The delay of each codebook in steps; the same for both stereo channels."""
        return [number // self.channels for number in range(self.codebooks)]

    @property
    def padding(self) -> int:
        """The token for positions without a code."""
        return self.vocabulary


class Listener(Protocol):
    """Encodes prompts: text, and a melody if the model accepts one."""

    takes_melody: bool

    def unknown_share(self, prompt: str) -> float:
        """The share of prompt tokens that the model does not know, 0 to 1."""

    def states(self, prompt: str, melody: Sound | None) -> States:
        """Encode a prompt. `melody` is float32 (12, frames), one pitch class per frame."""


class Decoding(Protocol):
    """One run of a decoder, with state."""

    def __call__(self, tokens: Codes) -> Logits:
        """Append tokens and return the logits after the last one.

        With guidance, the rows without the prompt follow those with it.
        """


class Decoder(Protocol):
    """The network that predicts codes. Shared; each `begin` starts an independent run."""

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        """Start a run for `rows` tracks; `guided` also predicts without the prompt."""


class Codec(Protocol):
    """Converts audio to codes and back. Thread-safe.

    Decoding has three parts, so that it can start while codes are still being generated: `embed`
    and `synthesise` see a few frames of context, and only `recur` has state.
    """

    def encode(self, sound: Sounds) -> Codes:
        """The codes of whole frames of mono audio."""

    def embed(self, codes: Codes) -> Hidden: ...

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        """`state` is the result of the previous call; None at the start."""

    def synthesise(self, hidden: Hidden) -> Sounds: ...


@dataclass(frozen=True)
class MusicModel:
    """A loaded variant. `note` says why it does not use the fastest engine, if so."""

    spec: CodecSpec
    listener: Listener
    decoder: Decoder
    codec: Codec
    engine: str
    precision: str
    note: str | None = None
