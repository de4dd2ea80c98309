"""The server with a model family that sleeps, to measure and test everything around models.

`create_app()` is its application; `python -m bench.sleeping` runs a worker or a keeper.
"""

import time
from typing import Annotated

import numpy as np
from flask import Flask
from pydantic import Field

import app
import background
from config import MODELS, Config
from models import FAMILIES, AnyFamily, MakeFamily, Models
from studio import audio
from studio.family import JobContext
from studio.jobs.body import JobOptions
from studio.results import SoundResult
from studio.settings.values import AUDIO_FILE_TYPES
from studio.sources import Sources
from studio.storage.uploads import Upload
from tests.support.toy_family import RATE_HZ, Toy, mono

SAMPLES = RATE_HZ
TRACKS = ("left", "right")
# Between reports; a canceled job ends at its next one.
REPORT_EVERY_S = 0.1


class SleepOptions(JobOptions):
    seconds: Annotated[float, Field(ge=0, le=600, description="How long to sleep.")] = 1.0
    number: Annotated[int, Field(description="Tells requests apart.")] = 0


class Sleep(Toy[SleepOptions]):
    name = "sleep"
    options = SleepOptions
    tracks_help = "left, right"
    track_names = TRACKS

    def work(self, model: float, upload: Upload, context: JobContext[SleepOptions]) -> SoundResult:
        seconds, began_s = context.options.seconds, time.monotonic()
        while (slept_s := time.monotonic() - began_s) < seconds:
            context.report("sleeping", slept_s / seconds)
            time.sleep(min(REPORT_EVERY_S, seconds - slept_s))
        with audio.track_writers(context.work, TRACKS, RATE_HZ, 1, SAMPLES) as writers:
            for writer in writers:
                writer.write(np.zeros((1, SAMPLES), np.float32))
        return mono(SAMPLES)


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
