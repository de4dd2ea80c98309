"""Decoding tasks of live sessions, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass

from studio.transcription.engine import Speech
from studio.transcription.live.endpoints import Span
from studio.transcription.transcript import Segment


@dataclass(frozen=True)
class Following:
    """The next span to decode, and since when it waits."""

    span: Span
    since_s: float
    is_final: bool = False
    is_early: bool = False


@dataclass(frozen=True)
class Task:
    """Audio to decode: an ended utterance (`is_final`), one that has ended if the present silence
    lasts (`is_early`), or the current one."""

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
    """The result for an utterance before its end was certain; None: decoding failed."""

    span: Span
    segments: Sequence[Segment] | None


@dataclass(frozen=True)
class EndedUtterance:
    """An ended utterance: when it ended, and the number of samples received by then."""

    span: Span
    at_s: float
    received: int
