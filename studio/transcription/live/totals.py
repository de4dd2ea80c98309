"""What a session adds up: its text, and figures about its work."""

from dataclasses import dataclass, field
from typing import Any

from studio.transcription.line_breaks import joined_texts


@dataclass(frozen=True)
class Figures:
    """Totals of a session: seconds of audio and decoding, and the number of segments."""

    audio_s: float = 0.0
    decoding_s: float = 0.0
    segments: int = 0

    def plus(self, audio_s: float, decoding_s: float, segments: int) -> "Figures":
        return Figures(
            self.audio_s + audio_s, self.decoding_s + decoding_s, self.segments + segments
        )


@dataclass
class Totals:
    """Those of the speech up to the next `finish`."""

    decoding_s: float = 0.0
    texts: list[str] = field(default_factory=list)
    # The language of the last final text.
    language: str | None = None

    def add(self, text: str, language: str | None) -> None:
        """Add a final text."""
        self.texts.append(text)
        self.language = language

    def summary(self, segments: int, audio_s: float, language: str | None) -> dict[str, Any]:
        """The data of `finished`. `language` is the one of the session, if it is certain."""
        return {
            "text": joined_texts(self.texts),
            "segments": segments,
            "audio_s": round(audio_s, 3),
            "decoding_s": round(self.decoding_s, 3),
            "language": language or self.language,
        }
