"""The server with a fourth model family, which turns sound upside down.

It stands for whatever comes next: this module, one entry in `config.MODELS`, and one more family
for `create_app` are all that it takes. `bench.sleeping` has another one.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Annotated, ClassVar

from flask import Flask
from pydantic import Field

import app
from config import MODELS, Config
from models import FAMILIES, Models
from studio import audio
from studio.family import Family, JobContext, OptionsT
from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where
from studio.jobs.body import JobOptions
from studio.results import SOUND_FORMATS, SoundResult, Track, sound_track
from studio.sources import Sources
from studio.storage.uploads import Upload

RATE_HZ = 16_000


class ToyCatalogue(Catalogue[Variant]):
    title = "Toy"

    def bundled(self) -> Variant:
        return Variant(name=BUNDLED, purpose="Only one", where=Where.BUNDLED, licence=MIT)


class Toy(Family[OptionsT, float, SoundResult]):
    """A family whose model is a number, and whose tracks are mono at RATE_HZ."""

    result = SoundResult
    formats: ClassVar[Mapping[str, str]] = SOUND_FORMATS
    catalogue = ToyCatalogue()
    track_names: ClassVar[Sequence[str]]

    def load(self, variant: str) -> float:
        return -1.0

    def tracks(self, result: SoundResult) -> list[Track]:
        return [sound_track(name, self.name, result) for name in self.track_names]


def mono(samples: int, audio_format: str = "wav", gain: float = 1.0) -> SoundResult:
    """The result of a toy."""
    return SoundResult(
        duration_s=samples / RATE_HZ,
        format=audio_format,
        sample_rate_hz=RATE_HZ,
        channels=1,
        samples=samples,
        gain=gain,
    )


class InvertOptions(JobOptions):
    passes: Annotated[int, Field(ge=1, le=10_000, description="How often to invert.")] = 1
    format: str = "wav"


class Invert(Toy[InvertOptions]):
    name = "invert"
    options = InvertOptions
    tracks_help = "inverted"
    track_names = ("inverted",)

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def work(self, model: float, upload: Upload, context: JobContext[InvertOptions]) -> SoundResult:
        source = self._sources.upload(upload)
        samples = round(source.duration_s * RATE_HZ)
        with audio.track_writers(context.work, ["inverted"], RATE_HZ, 1, samples) as [writer]:
            for number in range(context.options.passes):
                context.report("inverting", number / context.options.passes)
                with closing(audio.decode(source.path, RATE_HZ, 1, source.duration_s)) as blocks:
                    for block in blocks:
                        if number == context.options.passes - 1:
                            writer.write(block * model)
        return mono(samples, context.options.format, audio.shared_gain([writer.peak]))


def invert(_config: Config, sources: Sources, _models: Models) -> Invert:
    return Invert(sources)


def create_app() -> Flask:
    MODELS["invert"] = {"file_types": frozenset({"wav"}), "purpose": "Turns sound upside down"}
    return app.create_app(families={**FAMILIES, Invert: invert})
