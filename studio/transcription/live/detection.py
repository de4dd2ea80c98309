"""The language of a live session, detected utterance by utterance until it is certain."""

from dataclasses import dataclass

# A language is certain if it was at least this probable in this much speech. What is heard in less
# may be a cough or an "Hm", and a guess about much speech may still be wrong.
MIN_PROBABILITY = 0.8
MIN_VOICE_S = 3.0


@dataclass(frozen=True)
class Detected:
    """A language that an engine detected in a task, with its probability."""

    language: str
    probability: float

    @property
    def is_sure(self) -> bool:
        return self.probability >= MIN_PROBABILITY


class Detection:
    """What was detected so far. `of_utterance` is for the interim texts of the current utterance,
    whose final text is detected anew."""

    def __init__(self) -> None:
        self.of_utterance: str | None = None
        self._language: str | None = None
        self._heard_s = 0.0

    def heard(self, detected: Detected, seconds: float) -> None:
        """Note what an unfinished utterance is in."""
        if detected.is_sure and seconds >= MIN_VOICE_S:
            self.of_utterance = detected.language

    def ended(self, detected: Detected, seconds: float) -> str | None:
        """Note what an utterance was in; the language of the session if that is certain now."""
        if not detected.is_sure:
            return None
        if detected.language != self._language:
            self._language, self._heard_s = detected.language, 0.0
        self._heard_s += seconds
        return self._language if self._heard_s >= MIN_VOICE_S else None
