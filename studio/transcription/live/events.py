"""Transcription events, and errors for clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.transcription.engine import RATE_HZ
from studio.transcription.line_breaks import joined_texts
from studio.transcription.live.agreement import Agreement
from studio.transcription.live.endpoints import Span
from studio.transcription.transcript import Segment, Word


class SessionError(Exception):
    """An error for a client: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Advice:
    """What the clients of a protocol can do when a session has reached a limit, as sentences."""

    too_long: str = "Start another session to continue."
    idle: str = "Send audio more often to keep it open."


class Observer:
    """Receives the utterances of a session, in order. This base class ignores them.

    Its methods are called while the session is locked: they must not block or call the session.
    """

    def began(self, start: int) -> None:
        """A voice began at this sample."""

    def ended(self, span: Span) -> None:
        """An utterance ended; it will be decoded."""

    def decoded(self, text: str | None) -> None:
        """The first ended utterance was decoded; `text` is None if that failed."""


@dataclass
class Utterance:
    """The current utterance: interim texts that replace each other, and one final text.

    `was_shown` is true if an interim text was sent that must be replaced.
    """

    segment: int
    with_words: bool

    def __post_init__(self) -> None:
        self.was_shown = False
        self._agreement = Agreement()

    def interim(
        self, span: Span, segments: Sequence[Segment], language: str | None
    ) -> dict[str, Any] | None:
        """The interim event; None if there is no text."""
        self._agreement.update([word for segment in segments for word in segment.words])
        words = self._agreement.words
        if not words:
            return None
        self.was_shown = True
        stable = _joined(self._agreement.committed)
        return {
            **self._event(span, _joined(words), words, language),
            "is_final": False,
            "stable": stable,
        }

    def final(
        self, span: Span, segments: Sequence[Segment], language: str | None
    ) -> dict[str, Any] | None:
        """The final event; None if there is no text and none was shown."""
        words = [word for segment in segments for word in segment.words]
        text = joined_texts(segment.text for segment in segments)
        if not text and not self.was_shown:
            return None
        return {**self._event(span, text, words, language), "is_final": True, "stable": text}

    def _event(
        self, span: Span, text: str, words: Sequence[Word], language: str | None
    ) -> dict[str, Any]:
        start_s = words[0].start_s if words else span.start / RATE_HZ
        end_s = words[-1].end_s if words else span.end / RATE_HZ
        event: dict[str, Any] = {
            "transcription": text,
            "segment": self.segment,
            "start": round(start_s, 3),
            "end": round(end_s, 3),
            "language": language,
        }
        if self.with_words:
            event["words"] = [
                {
                    "text": word.text.strip(),
                    "start": word.start_s,
                    "end": word.end_s,
                    "probability": word.probability,
                }
                for word in words
            ]
        return event


def _joined(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()
