"""The options of a transcription."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from studio.jobs.body import JobOptions, VariantName
from studio.transcription.alignment.lyrics import MAX_CHARACTERS
from studio.transcription.languages import LANGUAGES, language_code

# Each is one more decoding of a window; Whisper's own list has 6.
MAX_TEMPERATURES = 10
Temperature = Annotated[float, Field(ge=0.0, le=1.0)]
Temperatures = Annotated[list[Temperature], Field(min_length=1, max_length=MAX_TEMPERATURES)]


class TranscriptionOptions(JobOptions):
    """Options of `POST /process/whisper/<file_id>`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"language": "en", "source": "vocals"}]}
    )

    model_variant: Annotated[
        VariantName | None,
        Field(
            description="A variant in the list of models. Default: the configured one.",
            examples=["small"],
        ),
    ] = None
    language: Annotated[
        str | None,
        Field(
            description="The spoken language, as a code or an English name. Default: detected.",
            max_length=50,
            examples=["en"],
        ),
    ] = None
    task: Annotated[
        Literal["transcribe", "translate"],
        Field(description="Transcribe in the spoken language, or translate into English."),
    ] = "transcribe"
    source: Annotated[
        Literal["mixture", "vocals"],
        Field(
            description="Transcribe the file as it is, or only its vocals (for songs), which are "
            "separated first if necessary and kept as tracks.",
        ),
    ] = "mixture"
    separation_variant: Annotated[
        VariantName | None,
        Field(
            description="Demucs variant. Only with `source: vocals`. Default: that of an existing "
            "separation, else the configured one.",
            examples=["htdemucs_ft"],
        ),
    ] = None
    initial_prompt: Annotated[
        str | None,
        Field(description="Text in the desired style and spelling.", max_length=1000),
    ] = None
    hotwords: Annotated[
        str | None,
        Field(description="Names and rare words that are likely to occur.", max_length=500),
    ] = None
    lyrics: Annotated[
        str | None,
        Field(
            description="Known text to align with the audio instead of transcribing it; or the ID "
            "of an uploaded `txt` file that contains it.",
            max_length=MAX_CHARACTERS,
            examples=["Twinkle, twinkle, little star,\nHow I wonder what you are!"],
        ),
    ] = None
    word_timestamps: Annotated[
        bool, Field(description="Compute the start and end of every word.")
    ] = True
    vad: Annotated[bool, Field(description="Skip audio without voice activity (Silero VAD).")] = (
        True
    )
    beam_size: Annotated[
        int, Field(description="Hypotheses kept by the beam search.", ge=1, le=20)
    ] = 5
    temperature: Annotated[
        Temperature | Temperatures,
        Field(
            description="Sampling temperature. If the text is improbable or repetitive, the next "
            "value in the list is tried.",
            examples=[[0.0, 0.4, 0.8]],
        ),
    ] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]  # noqa: RUF012 - pydantic copies it
    batch_size: Annotated[
        int,
        Field(
            description="Windows decoded together: faster on long files, with the same text.",
            ge=1,
            le=64,
        ),
    ] = 1

    @field_validator("language")
    @classmethod
    def _check_language(cls, language: str | None) -> str | None:
        if language is None:
            return None
        code = language_code(language)
        if code is None:
            raise ValueError(
                "use an English name, or one of the codes "
                f"{', '.join(sorted(LANGUAGES))}, or none to detect it"
            )
        return code

    @field_validator("temperature", mode="before")
    @classmethod
    def _check_temperatures(cls, temperature: Any) -> Any:
        if isinstance(temperature, list) and not 1 <= len(temperature) <= MAX_TEMPERATURES:
            raise ValueError(f"give at least one temperature and at most {MAX_TEMPERATURES}")
        return temperature

    @model_validator(mode="after")
    def _check_separation(self) -> Self:
        if self.separation_variant is not None and self.source != "vocals":
            raise ValueError("separation_variant needs source: vocals")
        return self

    @model_validator(mode="after")
    def _check_lyrics(self) -> Self:
        if self.lyrics is not None and self.task == "translate":
            raise ValueError("lyrics cannot be translated; leave out task or lyrics")
        if self.lyrics is not None and not self.word_timestamps:
            raise ValueError("lyrics needs word_timestamps")
        return self

    @property
    def temperatures(self) -> tuple[float, ...]:
        if isinstance(self.temperature, list):
            return tuple(self.temperature)
        return (self.temperature,)
