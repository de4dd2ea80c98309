"""The seam of music generation: the parts of a loaded model, which every engine offers.

Music is a sequence of frames (50 a second), each of which has one code a codebook. A decoder
predicts the codes, a codec turns frames into sound and back.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from studio.audio import Sound

Codes = npt.NDArray[np.int64]
"""int64 (rows, codebooks, frames). Of stereo, codebooks of left and right take turns."""

States = npt.NDArray[np.float32]
"""float32 (2, tokens, hidden): encoder states with the prompt, and without one."""

Logits = npt.NDArray[np.float32]
"""float32 (rows, codebooks, vocabulary), unnormalised log probabilities of the next codes."""

Sounds = npt.NDArray[np.float32]
"""float32 (rows, samples), full scale 1.0."""

Flags = npt.NDArray[np.bool_]
"""bool (codebooks, positions)."""

Hidden = npt.NDArray[np.float32]
"""float32 (rows, channels, frames) inside of the codec."""


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
        """Steps by which each codebook comes later than the first; both sides of stereo agree."""
        return [number // self.channels for number in range(self.codebooks)]

    @property
    def padding(self) -> int:
        """The token that stands where a codebook has no code."""
        return self.vocabulary


class Listener(Protocol):
    """Understands prompts: text, and a melody where the model takes one."""

    takes_melody: bool

    def unknown_share(self, prompt: str) -> float:
        """Share of the prompt's tokens that the model has never seen, 0..1."""

    def states(self, prompt: str, melody: Sound | None) -> States:
        """Encode a prompt. `melody` is float32 (12, frames), one pitch class per frame."""


class Decoding(Protocol):
    """One run of a decoder, which remembers what it was given."""

    def __call__(self, tokens: Codes) -> Logits:
        """Append tokens; the logits behind the last of them, those without prompt behind all
        others.
        """


class Decoder(Protocol):
    """The network that predicts codes. Shared; each `begin` is a run of its own.

    `note` says what went wrong on its device meanwhile.
    """

    note: str | None

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        """A new run for `rows` tracks at once; `guided`: also predict without prompt."""


class Codec(Protocol):
    """Sound to codes and back. Shared by threads.

    Decoding is cut into three parts so that it can go on while codes still come: `embed` and
    `synthesise` see a few frames around each, only `recur` remembers.
    """

    def encode(self, sound: Sounds) -> Codes:
        """The codes of whole frames of mono sound."""

    def embed(self, codes: Codes) -> Hidden: ...

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        """`state` is what the last call gave; None at the beginning."""

    def synthesise(self, hidden: Hidden) -> Sounds: ...


@dataclass(frozen=True)
class MusicModel:
    """A loaded variant. `engine` and `precision` tell what it runs on, `note` why not on better."""

    kind: CodecSpec
    listener: Listener
    decoder: Decoder
    codec: Codec
    engine: str
    precision: str
    note: str | None = None
