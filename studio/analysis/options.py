"""The options of an analysis."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from studio.audio import AudioFormat
from studio.jobs.body import JobOptions, VariantName

MAX_COUNT_IN_BARS = 4


class AnalysisOptions(JobOptions):
    """Options of `POST /process/analysis/<file_id>`."""

    model_variant: Annotated[
        VariantName | None,
        Field(
            description="A variant in the list of models.",
            examples=["mini"],
        ),
    ] = None
    tempo_bpm: Annotated[
        float | None,
        Field(
            description="Approximate tempo in beats per minute. Decides between half and double "
            "tempo. Default: estimated.",
            ge=40.0,
            le=250.0,
            examples=[120.0],
        ),
    ] = None
    beats_per_bar: Annotated[
        int | None,
        Field(description="Beats in a bar. Default: 3 or 4, estimated.", ge=2, le=7),
    ] = None
    chords: Annotated[bool, Field(description="Find the key and the chords.")] = True
    click: Annotated[bool, Field(description="Write the track `click`.")] = True
    count_in_bars: Annotated[
        int,
        Field(
            description="Bars of clicks before the first beat of the song. If the song begins too "
            "early for the count-in, the track begins before the song. Needs `click`.",
            ge=0,
            le=MAX_COUNT_IN_BARS,
        ),
    ] = 0
    format: Annotated[
        AudioFormat,
        Field(description="Format of the track `click`, and the default for its downloads."),
    ] = "wav"

    @model_validator(mode="after")
    def _check_count_in(self) -> Self:
        if self.count_in_bars and not self.click:
            raise ValueError("count_in_bars needs click: true")
        return self
