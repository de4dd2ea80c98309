"""The server with a model family that sleeps, to measure and test everything around models.

`create_app()` is its application; `python -m bench.sleeping` runs a worker or a keeper.
"""

import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from flask import Flask
from pydantic import Field

import app
import background
from config import MODELS, Config
from models import FAMILIES, AnyFamily, MakeFamily, Models
from studio import audio
from studio.family import Family, JobContext
from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where
from studio.jobs.body import JobOptions
from studio.results import SOUND_FORMATS, SoundResult, Track, sound_track
from studio.settings.values import AUDIO_FILE_TYPES
from studio.sources import Sources
from studio.storage.files import Upload

RATE_HZ, SAMPLES = 16_000, 16_000
TRACKS = ("left", "right")
# Between reports; a canceled job ends at its next one.
REPORT_EVERY_S = 0.1


class SleepOptions(JobOptions):
    seconds: Annotated[float, Field(ge=0, le=600, description="How long to sleep.")] = 1.0
    number: Annotated[int, Field(description="Tells requests apart.")] = 0


class SleepCatalogue(Catalogue[Variant]):
    title = "Sleep"

    def bundled(self) -> Variant:
        return Variant(name=BUNDLED, purpose="Only one", where=Where.BUNDLED, licence=MIT)


class Sleep(Family[SleepOptions, None, SoundResult]):
    name = "sleep"
    options = SleepOptions
    result = SoundResult
    formats: ClassVar[Mapping[str, str]] = SOUND_FORMATS
    tracks_help = "left, right"
    catalogue = SleepCatalogue()

    def load(self, variant: str) -> None:
        return None

    def work(self, model: None, upload: Upload, context: JobContext[SleepOptions]) -> SoundResult:
        seconds, began_s = context.options.seconds, time.monotonic()
        while (slept_s := time.monotonic() - began_s) < seconds:
            context.report("sleeping", slept_s / seconds)
            time.sleep(min(REPORT_EVERY_S, seconds - slept_s))
        with audio.track_writers(context.work, TRACKS, RATE_HZ, 1, SAMPLES) as writers:
            for writer in writers:
                writer.write(np.zeros((1, SAMPLES), np.float32))
        return SoundResult(
            duration_s=SAMPLES / RATE_HZ,
            format="wav",
            sample_rate_hz=RATE_HZ,
            channels=1,
            samples=SAMPLES,
            gain=1.0,
        )

    def tracks(self, result: SoundResult) -> list[Track]:
        return [sound_track(name, "sleep", result) for name in TRACKS]


def sleep(_config: Config, _sources: Sources, _models: Models) -> Sleep:
    return Sleep()


def families() -> dict[type[AnyFamily], MakeFamily]:
    """All families and this one, which becomes known to the configuration."""
    MODELS["sleep"] = {"file_types": AUDIO_FILE_TYPES, "purpose": "Sleeps"}
    return {**FAMILIES, Sleep: sleep}


def create_app() -> Flask:
    return app.create_app(families=families())


if __name__ == "__main__":
    background.run(Config.load(), families())
