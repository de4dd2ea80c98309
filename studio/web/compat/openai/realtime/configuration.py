"""The configuration of a transcription session, as clients send and read it."""

from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from studio.transcription.live.events import SessionError
from studio.transcription.live.pcm import RATES_HZ
from studio.transcription.live.settings import LiveSettings
from studio.web.compat.openai import names
from studio.web.compat.openai.fields import MAX_KEYWORDS_CHARACTERS, MAX_PROMPT_CHARACTERS

RATE_HZ = 24_000
PCM = "audio/pcm"
# The same in the events of older clients.
OLD_PCM = "pcm16"
SILENCE_MS = 500
# Without turn detection, a pause does not end a turn. This is the longest of a live session.
LONGEST_SILENCE_MS = 5000
TURN_DETECTIONS = ("server_vad", "semantic_vad")
KEYWORDS_JOINT = ", "


@dataclass(frozen=True)
class Configuration:
    """The settings of a session. `silence_ms` is None without turn detection.

    `detect_again` is true for an update that mentions the language: a language that was detected is
    forgotten when the update takes effect.
    """

    session_id: str
    model: str
    language: str | None = None
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    silence_ms: int | None = SILENCE_MS
    rate_hz: int = RATE_HZ
    detect_again: bool = field(default=False, compare=False)

    def updated(self, session: Any) -> "Configuration":
        """With the changes of a `session.update`. Raises SessionError."""
        sent = _object(session, "session")
        if sent.get("type", "transcription") != "transcription":
            raise _invalid("session.type", sent["type"], "only `transcription` is supported")
        audio = _object(sent.get("audio") or {}, "session.audio")
        sound = _object(audio.get("input") or {}, "session.audio.input")
        changed = self
        if sound.get("format") is not None:
            rate_hz = _rate_hz(_object(sound["format"], "session.audio.input.format"))
            changed = replace(changed, rate_hz=rate_hz)
        if sound.get("transcription") is not None:
            changed = changed._with_transcription(
                _object(sound["transcription"], "session.audio.input.transcription")
            )
        if "turn_detection" in sound:
            silence_ms = _silence_ms(sound["turn_detection"], self.silence_ms or SILENCE_MS)
            changed = replace(changed, silence_ms=silence_ms)
        return changed

    def updated_as_before(self, session: Any) -> "Configuration":
        """With the changes of a `transcription_session.update`, the event of older clients."""
        sent = _object(session, "session")
        sound: dict[str, Any] = {"transcription": sent.get("input_audio_transcription")}
        if sent.get("input_audio_format") not in (None, OLD_PCM):
            raise _invalid(
                "session.input_audio_format", sent["input_audio_format"], f"use {OLD_PCM}"
            )
        if "turn_detection" in sent:
            sound["turn_detection"] = sent["turn_detection"]
        return self.updated({"audio": {"input": sound}})

    def _with_transcription(self, sent: dict[str, Any]) -> "Configuration":
        """With the fields that were sent; the others keep their values."""
        changed = replace(self, model=sent.get("model") or self.model)
        if "language" in sent or "languages" in sent:
            languages = _texts(sent.get("languages"), "languages")
            language = sent.get("language") or (languages[0] if len(languages) == 1 else None)
            changed = replace(changed, language=language, detect_again=True)
        if "prompt" in sent:
            changed = replace(changed, prompt=_prompt(sent["prompt"]))
        if "keywords" in sent:
            changed = replace(changed, keywords=_keywords(sent["keywords"]))
        return changed

    def settings(self, default: str) -> LiveSettings:
        """The settings of the live session. Raises SessionError."""
        options = names.options_of(str(self.model))
        if "source" in options:
            raise _invalid("model", self.model, "vocals cannot be separated from live audio")
        try:
            return LiveSettings(
                variant=options.get("model_variant", default),
                language=self.language,
                prompt=self.prompt,
                hotwords=KEYWORDS_JOINT.join(self.keywords),
                words=False,
                endpointing_ms=LONGEST_SILENCE_MS if self.silence_ms is None else self.silence_ms,
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = "model" if first["loc"] == ("variant",) else ".".join(map(str, first["loc"]))
            what = f"{name!r}: {first['msg']}"
            raise SessionError("invalid_setting", f"A setting is invalid: {what}.") from None

    def described(self) -> dict[str, Any]:
        """The session, as its client reads it."""
        turns = None
        if self.silence_ms is not None:
            turns = {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": self.silence_ms,
            }
        transcription = {
            "model": self.model,
            "language": self.language,
            "prompt": self.prompt,
            "keywords": list(self.keywords),
        }
        sound = {
            "format": {"type": PCM, "rate": self.rate_hz},
            "noise_reduction": None,
            "transcription": transcription,
            "turn_detection": turns,
        }
        return {
            "id": self.session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {"input": sound},
            "include": [],
        }


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(name, value, "it must be an object")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """The texts of a list, which may be left out."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _invalid(f"transcription.{name}", value, "it must be a list of texts")
    return tuple(value)


def _prompt(value: Any) -> str:
    if not isinstance(value, str | None):
        raise _invalid("transcription.prompt", value, "it must be a text")
    return (value or "")[-MAX_PROMPT_CHARACTERS:]


def _keywords(value: Any) -> tuple[str, ...]:
    keywords = _texts(value, "keywords")
    length = len(KEYWORDS_JOINT.join(keywords))
    if length > MAX_KEYWORDS_CHARACTERS:
        raise SessionError(
            "invalid_setting",
            f"`transcription.keywords` has {length} characters in total; at most "
            f"{MAX_KEYWORDS_CHARACTERS} are allowed.",
        )
    return keywords


def _rate_hz(sent: dict[str, Any]) -> int:
    kind, rate_hz = sent.get("type", PCM), sent.get("rate") or RATE_HZ
    if kind != PCM:
        raise _invalid("format.type", kind, f"only `{PCM}` is supported, 16-bit mono")
    min_hz, max_hz = RATES_HZ
    if not isinstance(rate_hz, int) or not min_hz <= rate_hz <= max_hz:
        raise _invalid("format.rate", rate_hz, f"use {RATE_HZ}")
    return rate_hz


def _silence_ms(sent: Any, default_ms: int) -> int | None:
    if sent is None:
        return None
    detection = _object(sent, "turn_detection")
    kind = detection.get("type", TURN_DETECTIONS[0])
    if kind not in TURN_DETECTIONS:
        raise _invalid("turn_detection.type", kind, f"use {' or '.join(TURN_DETECTIONS)}, or null")
    silence_ms = detection.get("silence_duration_ms")
    if silence_ms is not None and (
        not isinstance(silence_ms, int) or not 100 <= silence_ms <= LONGEST_SILENCE_MS
    ):
        raise _invalid(
            "turn_detection.silence_duration_ms",
            silence_ms,
            f"use a whole number from 100 to {LONGEST_SILENCE_MS}",
        )
    return default_ms if silence_ms is None else silence_ms


def _invalid(name: str, value: Any, advice: str) -> SessionError:
    return SessionError("invalid_setting", f"`{name}` is {value!r:.100}; {advice}.")
