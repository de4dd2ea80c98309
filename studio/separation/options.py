"""The options of a separation."""

from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from studio.audio import AudioFormat
from studio.errors import InvalidOption
from studio.jobs.body import JobOptions, VariantName, one_or_more

Stem = Annotated[str, Field(min_length=1, max_length=100)]


class SeparationOptions(JobOptions):
    """Options of `POST /process/demucs/<file_id>`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"stems": ["vocals"], "format": "mp3"}]}
    )

    model_variant: Annotated[
        VariantName | None,
        Field(
            description="A variant in the list of models. Default: the configured one.",
            examples=["htdemucs_ft"],
        ),
    ] = None
    source: Annotated[
        str | None,
        Field(
            description="Separate a track that was generated from this text file. Default: the "
            "file itself.",
            pattern=r"^music(_[2-4])?$",
            max_length=7,
            examples=["music"],
        ),
    ] = None
    stems: Annotated[
        list[Stem] | None,
        Field(
            description="The stems to write. With a bag of specialised networks (htdemucs_ft) "
            "only the needed ones run. Default: all.",
            min_length=1,
            max_length=16,
            examples=[["vocals"]],
        ),
    ] = None
    format: Annotated[
        AudioFormat,
        Field(description="Format of the tracks, and the default for downloads."),
    ] = "wav"
    shifts: Annotated[
        int,
        Field(
            description="Average this many runs at random time shifts: slower, slightly better.",
            ge=0,
            le=20,
        ),
    ] = 0
    overlap: Annotated[
        float,
        Field(description="Overlap of adjacent segments.", ge=0.0, le=0.9),
    ] = 0.25

    _one_or_more = field_validator("stems", mode="before")(one_or_more)

    def work_s(self, duration_s: float) -> float:
        """The seconds of sound that the networks process for a recording of this length."""
        return duration_s * max(1, self.shifts) / (1 - self.overlap)

    def check_work(self, duration_s: float, max_work_s: float) -> None:
        """Raise InvalidOption when separating a sound like that is too much work."""
        work_s = self.work_s(duration_s)
        if work_s > max_work_s:
            raise InvalidOption(
                f"With `shifts` {self.shifts} and `overlap` {self.overlap:g}, {duration_s:,.0f} s "
                f"of audio take as much work as {work_s:,.0f} s; the maximum is "
                f"{max_work_s:,.0f} s. Use fewer shifts, less overlap, or split the file."
            )
