"""What the server offers to clients, and where their speech is transcribed."""

from dataclasses import dataclass

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from studio.inference.variants import Catalogue, Where
from studio.transcription.catalogue import WhisperVariant
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits


@dataclass(frozen=True)
class Speech:
    """Where utterances are transcribed: the scheduler, its limits, and the variants of Whisper."""

    scheduler: Scheduler
    limits: Limits
    catalogue: Catalogue[WhisperVariant]
    default: str
    version: str


def info_of(speech: Speech) -> Info:
    """What the server offers: Whisper's variants, the default one first.

    Home Assistant offers the languages of all installed models, but never names a model. So the
    default counts as installed even before its weights are downloaded, and the others offer only
    languages that it has, too.
    """
    catalogue = speech.catalogue
    default = catalogue.find(speech.default)
    names = sorted(catalogue.names(), key=lambda name: name != speech.default)
    models = [
        AsrModel(
            name=variant.name,
            attribution=Attribution("OpenAI", "https://github.com/openai/whisper"),
            installed=variant.name == default.name or variant.where is not Where.AVAILABLE,
            description=variant.purpose,
            version=None,
            languages=sorted(variant.languages & default.languages),
        )
        for variant in map(catalogue.find, names)
    ]
    program = AsrProgram(
        name="audio-studio",
        attribution=Attribution("Audio Studio", ""),
        installed=True,
        description="Whisper on Audio Studio",
        version=speech.version,
        models=models,
    )
    return Info(asr=[program])
