"""The settings and limits of live sessions."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from studio.errors import StudioError
from studio.inference.variants import Catalogue
from studio.transcription.catalogue import WhisperVariant
from studio.transcription.languages import check_language, language_code
from studio.transcription.live.events import SessionError

MAX_HOTWORDS_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of live transcription; each is a setting of the server."""

    sessions: int
    sessions_of_a_client: int
    waiting_s: float
    silence_s: float
    length_s: float
    idle_s: float
    chunk_bytes: int


class LiveSettings(BaseModel):
    """The settings that a client may `configure`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    variant: Annotated[str, Field(min_length=1, max_length=200)]
    language: Annotated[str | None, Field(max_length=20)] = None
    prompt: Annotated[str, Field(max_length=1000)] = ""
    hotwords: Annotated[str, Field(max_length=MAX_HOTWORDS_CHARACTERS)] = ""
    interim_results: bool = True
    words: bool = True
    endpointing_ms: Annotated[int, Field(ge=100, le=5000)] = 500

    @field_validator("language")
    @classmethod
    def _known(cls, language: str | None) -> str | None:
        if language is None:
            return None
        code = language_code(language)
        if code is None:
            raise ValueError("use a code or English name, such as en, or null to detect it")
        return code


def check_settings(settings: LiveSettings, catalogue: Catalogue[WhisperVariant]) -> None:
    """Raise SessionError if the variant does not exist or does not support the language."""
    try:
        variant = catalogue.check(settings.variant)
        check_language(settings.language, variant.languages, f"the variant {variant.name!r}")
    except StudioError as error:
        raise SessionError(error.code, error.sentence) from None
