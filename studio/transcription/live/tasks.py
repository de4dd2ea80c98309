"""What a session asks the scheduler to decode, and what it keeps of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from studio.transcription.engine import Speech
from studio.transcription.live.endpoints import Span
from studio.transcription.transcript import Segment


@dataclass(frozen=True)
class Following:
    """The stretch of sound that is to be decoded next, and since when it waits."""

    span: Span
    since_s: float
    is_final: bool = False
    is_early: bool = False


@dataclass(frozen=True)
class Task:
    """A stretch of sound to decode: an utterance that has ended (`is_final`), one that goes on, or
    one that is over if the silence lasts in which it is now (`is_early`)."""

    span: Span
    speech: Speech
    is_final: bool
    is_early: bool = False

    @property
    def is_thorough(self) -> bool:
        """Whether the result may become a final text."""
        return self.is_final or self.is_early


@dataclass(frozen=True)
class Early:
    """What was understood of an utterance before its end was certain; None: decoding failed."""

    span: Span
    segments: Sequence[Segment] | None


@dataclass(frozen=True)
class Closed:
    """An utterance that has ended: when, and how many samples had come by then."""

    span: Span
    at_s: float
    received: int
