"""The options of music generation."""

from typing import Annotated

from pydantic import ConfigDict, Field

from studio.audio import AudioFormat
from studio.generation.sampling import Sampling
from studio.jobs.body import JobOptions, VariantName

FileId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", max_length=32)]


class GenerationOptions(JobOptions):
    """Options of `POST /process/musicgen/<file_id>`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"duration": 20.0, "seed": 7}]})

    model_variant: Annotated[
        VariantName | None,
        Field(
            description="A variant in the list of models. Default: the configured one.",
            examples=["medium"],
        ),
    ] = None
    duration: Annotated[
        float,
        Field(
            description="Seconds of new music. Beyond 30 s, each window continues from the last "
            "12 s of the one before.",
            ge=1.0,
            le=300.0,
        ),
    ] = 10.0
    seed: Annotated[
        int | None,
        Field(
            description="The same seed gives the same music. The seed of a job is shown in its "
            "`options`. Default: random.",
            ge=0,
            lt=2**32,
        ),
    ] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            description="How closely to follow the prompt. 1 turns guidance off, which is faster. "
            "Default: the model's own (3, `mini` 1.5).",
            ge=1.0,
            le=15.0,
        ),
    ] = None
    temperature: Annotated[
        float,
        Field(
            description="Sampling temperature. 0 always takes the most likely code.",
            ge=0.0,
            le=2.0,
        ),
    ] = 1.0
    top_k: Annotated[
        int,
        Field(description="Sample from this many most likely codes. 0: from all.", ge=0, le=4096),
    ] = 250
    top_p: Annotated[
        float,
        Field(
            description="Sample from the most likely codes whose probabilities add up to this "
            "value.",
            gt=0.0,
            le=1.0,
        ),
    ] = 1.0
    format: Annotated[
        AudioFormat,
        Field(description="Format of the tracks, and the default for downloads."),
    ] = "wav"
    continue_from: Annotated[
        FileId | None,
        Field(
            description="Start the track with this audio and continue it for `duration` seconds: "
            "the file_id of an audio file, or of a prompt with generated music.",
        ),
    ] = None
    melody_from: Annotated[
        FileId | None,
        Field(
            description="Follow the melody of this audio: the file_id of an audio file, or of a "
            "prompt with generated music. Melody variants only.",
        ),
    ] = None
    variations: Annotated[
        int,
        Field(description="Number of tracks to generate: `music`, `music_2`, ...", ge=1, le=4),
    ] = 1
    loudness: Annotated[
        float | None,
        Field(
            description="Target loudness in LUFS (ITU-R BS.1770), as far as the peaks allow. "
            "Default: unchanged.",
            ge=-40.0,
            le=-8.0,
            examples=[-14.0],
        ),
    ] = None

    def sampling(self, guidance_scale: float) -> Sampling:
        """How to sample codes; `guidance_scale` is used unless the option is set."""
        scale = guidance_scale if self.guidance_scale is None else self.guidance_scale
        return Sampling(scale, self.temperature, self.top_k, self.top_p)
