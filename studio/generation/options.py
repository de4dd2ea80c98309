"""What a caller may ask of generated music; checked once, frozen afterwards."""

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
            description="Variant of MusicGen, see GET /models; none: the server's default.",
            examples=["medium"],
        ),
    ] = None
    duration: Annotated[
        float,
        Field(
            description="Seconds of new music. Beyond what the model oversees (30 s) it goes on "
            "from the last seconds.",
            ge=1.0,
            le=300.0,
        ),
    ] = 10.0
    seed: Annotated[
        int | None,
        Field(
            description="The same seed gives the same music; none: another one each time, which "
            "the job's options tell.",
            ge=0,
            lt=2**32,
        ),
    ] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            description="How closely the prompt is followed; 1: no guidance, which is faster; "
            "none: what the variant does best with (3, `mini` 1.5).",
            ge=1.0,
            le=15.0,
        ),
    ] = None
    temperature: Annotated[
        float,
        Field(description="Randomness; 0 always takes the likeliest.", ge=0.0, le=2.0),
    ] = 1.0
    top_k: Annotated[
        int,
        Field(description="Choose among so many likeliest codes; 0: among all.", ge=0, le=4096),
    ] = 250
    top_p: Annotated[
        float,
        Field(
            description="Choose among the likeliest codes whose probabilities add up to this.",
            gt=0.0,
            le=1.0,
        ),
    ] = 1.0
    format: Annotated[
        AudioFormat,
        Field(description="Format in which the tracks are made and downloaded by default."),
    ] = "wav"
    continue_from: Annotated[
        FileId | None,
        Field(
            description="file_id of a sound, or of a prompt whose music was made: the track begins "
            "with it, and goes on from its end.",
        ),
    ] = None
    melody_from: Annotated[
        FileId | None,
        Field(
            description="file_id of a sound, or of a prompt whose music was made, whose melody is "
            "to be followed; for the melody variants.",
        ),
    ] = None
    variations: Annotated[
        int,
        Field(description="Tracks that are made at once: music, music_2, ...", ge=1, le=4),
    ] = 1
    loudness: Annotated[
        float | None,
        Field(
            description="Loudness of the tracks in LUFS (ITU-R BS.1770), as far as their peaks "
            "allow; none: as the model made them.",
            ge=-40.0,
            le=-8.0,
            examples=[-14.0],
        ),
    ] = None

    def sampling(self, guidance_scale: float) -> Sampling:
        """How codes are drawn by a model whose own guidance is that."""
        scale = guidance_scale if self.guidance_scale is None else self.guidance_scale
        return Sampling(scale, self.temperature, self.top_k, self.top_p)
