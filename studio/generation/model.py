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
"""float32 (2, tokens, hidden): what the decoder is told, and what it is told of no prompt."""

Logits = npt.NDArray[np.float32]
"""float32 (rows, codebooks, vocabulary), unnormalised log probabilities of the next codes."""

Sounds = npt.NDArray[np.float32]
"""float32 (rows, samples), full scale 1.0."""

Flags = npt.NDArray[np.bool_]
"""bool (codebooks, positions)."""

Hidden = npt.NDArray[np.float32]
"""float32 (rows, channels, frames) inside of the codec."""


@dataclass(frozen=True)
class Kind:
    """What a model makes: rate in Hz, channels, samples of a frame, codebooks, and their size.

    `window_frames` is the length of the music that it has learnt to oversee, `guidance_scale` what
    it does best with.
    """

    sample_rate_hz: int
    channels: int
    frame_samples: int
    codebooks: int
    vocabulary: int
    window_frames: int
    guidance_scale: float

    @property
    def frames_a_second(self) -> float:
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
        """What to tell the decoder. `melody` is float32 (12, frames), one pitch class a frame."""


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
    `synthesise` see a few frames around each, only `recur` remembers. `note` says what went wrong
    on its device meanwhile.
    """

    note: str | None

    def encode(self, sound: Sounds) -> Codes:
        """The codes of whole frames of mono sound."""

    def embed(self, codes: Codes) -> Hidden: ...

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        """`state` is what the last call gave; None at the beginning."""

    def synthesise(self, hidden: Hidden) -> Sounds: ...


@dataclass(frozen=True)
class MusicModel:
    """A loaded variant. `engine` and `precision` tell what it runs on, `note` why not on better."""

    kind: Kind
    listener: Listener
    decoder: Decoder
    codec: Codec
    engine: str
    precision: str
    note: str | None = None
