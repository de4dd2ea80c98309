"""What a caller may ask of a transcription; checked once, frozen afterwards."""

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
            description="Variant of Whisper, see GET /models; none: the server's default.",
            examples=["small"],
        ),
    ] = None
    language: Annotated[
        str | None,
        Field(
            description="Code or English name of the spoken language, such as en or English; none: "
            "detected.",
            max_length=50,
            examples=["en"],
        ),
    ] = None
    task: Annotated[
        Literal["transcribe", "translate"],
        Field(description="Write down what is said, or translate it into English."),
    ] = "transcribe"
    source: Annotated[
        Literal["mixture", "vocals"],
        Field(
            description="Listen to the file as it is, or to its vocals only: those of an earlier "
            "separation, else they are separated first and kept as tracks.",
        ),
    ] = "mixture"
    separation_variant: Annotated[
        VariantName | None,
        Field(
            description="Variant of Demucs for `source: vocals`; none: any vocals that are there, "
            "else the server's default.",
            examples=["htdemucs_ft"],
        ),
    ] = None
    initial_prompt: Annotated[
        str | None,
        Field(description="Text in the style and spelling that is wanted.", max_length=1000),
    ] = None
    hotwords: Annotated[
        str | None,
        Field(description="Names and rare words that are likely to be said.", max_length=500),
    ] = None
    lyrics: Annotated[
        str | None,
        Field(
            description="Text that is known to be sung or said, or the ID of an uploaded txt file "
            "with it: its words are put in time, instead of what the model hears.",
            max_length=MAX_CHARACTERS,
            examples=["Twinkle, twinkle, little star,\nHow I wonder what you are!"],
        ),
    ] = None
    word_timestamps: Annotated[bool, Field(description="Also find the time of every word.")] = True
    vad: Annotated[bool, Field(description="Listen only where a voice is active (Silero).")] = True
    beam_size: Annotated[
        int, Field(description="Hypotheses that are followed at once.", ge=1, le=20)
    ] = 5
    temperature: Annotated[
        Temperature | Temperatures,
        Field(
            description="Randomness of decoding; of a list, the next one is tried where a result "
            "is improbable or repeats itself.",
            examples=[[0.0, 0.4, 0.8]],
        ),
    ] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]  # noqa: RUF012 - pydantic copies it
    batch_size: Annotated[
        int,
        Field(
            description="Windows decoded at the same time: faster on long files, with the same "
            "text.",
            ge=1,
            le=64,
        ),
    ] = 1

    @field_validator("language")
    @classmethod
    def _known(cls, language: str | None) -> str | None:
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
    def _some(cls, temperature: Any) -> Any:
        if isinstance(temperature, list) and not 1 <= len(temperature) <= MAX_TEMPERATURES:
            raise ValueError(f"give at least one temperature and at most {MAX_TEMPERATURES}")
        return temperature

    @model_validator(mode="after")
    def _separation(self) -> Self:
        if self.separation_variant is not None and self.source != "vocals":
            raise ValueError("separation_variant needs source: vocals")
        return self

    @model_validator(mode="after")
    def _alignment(self) -> Self:
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
