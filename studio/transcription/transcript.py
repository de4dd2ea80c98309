"""What was said: segments with words and times, as engines give them and as results keep them."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Word:
    """One word with the space before it where the language writes one; times in seconds."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """A piece of speech between two time marks of the model, in seconds.

    `words` is empty unless word times were asked for. The three numbers are the engine's own:
    mean log probability of the tokens, probability that nobody speaks, compression ratio.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 1.0

    def placed(self, from_s: float, to_s: float) -> "Segment":
        """The same segment with its times counted from `from_s` on, and none beyond `to_s`."""

        def place(time_s: float) -> float:
            return round(min(max(time_s, 0.0) + from_s, to_s), 3)

        words = tuple(
            replace(word, start_s=place(word.start_s), end_s=place(word.end_s))
            for word in self.words
        )
        return replace(self, start_s=place(self.start_s), end_s=place(self.end_s), words=words)


@dataclass(frozen=True)
class Transcript:
    """A whole recording: its language (a code such as `en`, None where nobody speaks)."""

    language: str | None
    language_probability: float | None
    duration_s: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """One line a segment."""
        return "\n".join(" ".join(segment.text.split()) for segment in self.segments)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `from_dict` reads it back."""
        return {
            "text": " ".join(segment.text.strip() for segment in self.segments),
            "language": self.language,
            "language_probability": self.language_probability,
            "duration_s": self.duration_s,
            "segments": [asdict(segment) for segment in self.segments],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Transcript":
        segments = [
            Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
            for segment in data["segments"]
        ]
        return cls(
            data["language"], data["language_probability"], data["duration_s"], tuple(segments)
        )
