"""Transcripts: segments and words with times."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from studio.transcription.line_breaks import joined_texts


@dataclass(frozen=True)
class Word:
    """A word, including the space before it if the language uses spaces. Times are in seconds.

    A word of given lyrics that could not be `placed` has no length, and the time at which the one
    before it ends. `pitch` is the MIDI pitch at which it is sung, if it is known and of use.
    """

    text: str
    start_s: float
    end_s: float
    probability: float
    placed: bool = True
    pitch: int | None = None


@dataclass(frozen=True)
class Segment:
    """Speech between two timestamps of the model, in seconds.

    `words` is empty unless word times were requested. The three numbers come from the engine: mean
    log probability of the tokens, probability of no speech, compression ratio.

    In given lyrics, a segment is a line, which may have blank lines before it. It is `placed` if
    one of its words is. `tokens` are those of the model, with its time stamps; known lyrics have
    none.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 1.0
    placed: bool = True
    blank_lines_before: int = 0
    tokens: tuple[int, ...] = ()

    def shifted(self, from_s: float, to_s: float) -> "Segment":
        """The segment shifted by `from_s`, with times limited to `to_s`."""

        def place(time_s: float) -> float:
            return round(min(max(time_s, 0.0) + from_s, to_s), 3)

        return self._placed_by(place)

    def delayed(self, offset_s: float) -> "Segment":
        """The segment `offset_s` later, or earlier if it is negative, but not before 0."""
        return self._placed_by(lambda time_s: round(max(time_s + offset_s, 0.0), 3))

    def _placed_by(self, place: Callable[[float], float]) -> "Segment":
        words = tuple(
            replace(word, start_s=place(word.start_s), end_s=place(word.end_s))
            for word in self.words
        )
        return replace(self, start_s=place(self.start_s), end_s=place(self.end_s), words=words)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, in which what only some transcripts have is left out elsewhere."""
        data = _without_defaults(asdict(self), placed=True, blank_lines_before=0, tokens=())
        data["words"] = [_without_defaults(word, placed=True, pitch=None) for word in data["words"]]
        return data


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording.

    `language`, that of the recording, is a code such as `en`, or None without speech.
    `translated_into` is that of the text, if it was translated.
    """

    language: str | None
    language_probability: float | None
    duration_s: float
    segments: tuple[Segment, ...]
    translated_into: str | None = None

    @property
    def text_language(self) -> str | None:
        return self.translated_into or self.language

    @property
    def text(self) -> str:
        """One line a segment."""
        return "\n".join(
            "\n" * segment.blank_lines_before + " ".join(segment.text.split())
            for segment in self.segments
        )

    @property
    def placed_segments(self) -> tuple[Segment, ...]:
        """The segments with times: all but the lines of lyrics that could not be placed."""
        return tuple(segment for segment in self.segments if segment.placed)

    def delayed(self, offset_s: float) -> "Transcript":
        """The transcript with all times `offset_s` later; see `Segment.delayed`."""
        segments = tuple(segment.delayed(offset_s) for segment in self.segments)
        return replace(self, segments=segments)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; `from_dict` is the inverse."""
        data = {
            "text": joined_texts(one.text for one in self.segments),
            "language": self.language,
            "translated_into": self.translated_into,
            "language_probability": self.language_probability,
            "duration_s": self.duration_s,
            "segments": [segment.to_dict() for segment in self.segments],
        }
        return _without_defaults(data, translated_into=None)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Transcript":
        segments = [_segment(segment) for segment in data["segments"]]
        return cls(
            data["language"],
            data["language_probability"],
            data["duration_s"],
            tuple(segments),
            data.get("translated_into"),
        )


def _without_defaults(data: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in data.items()
        if name not in defaults or value != defaults[name]
    }


def _segment(data: dict[str, Any]) -> Segment:
    words = tuple(Word(**word) for word in data["words"])
    return Segment(**{**data, "words": words, "tokens": tuple(data.get("tokens", ()))})
