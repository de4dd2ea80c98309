"""The model processors: passes settings to each model family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from config import MODELS, Config
from studio.analysis.catalogue import AnalysisCatalogue
from studio.analysis.family import Analysis
from studio.errors import StudioError
from studio.family import Family, JobContext
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.family import Generation
from studio.inference.downloads import Downloads
from studio.inference.engine_settings import EngineSettings
from studio.inference.registry import Registry
from studio.inference.variants import BUNDLED
from studio.jobs.body import SOURCE_IDENTITIES, JobOptions
from studio.jobs.job import Job, Report
from studio.jobs.partials import LocalPartials, Partials
from studio.jobs.scale.workers import Workers
from studio.jobs.store import JobStore
from studio.processor import Processor, downloading
from studio.processors import Processors
from studio.results import Track
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.family import Separation
from studio.separation.hub import HubAccess
from studio.separation.options import SeparationOptions
from studio.separation.result import SeparationResult
from studio.sources import Source, Sources
from studio.storage.storage import Storage
from studio.storage.uploads import Upload
from studio.transcription.catalogue import WhisperCatalogue
from studio.transcription.engine import SpeechEngine
from studio.transcription.family import VOCALS, Transcription
from studio.transcription.result import VocalsResult

GRAPHS = ".graphs"
# The settings that are read here. Other names in the environment may be those of other programs.
SETTINGS = frozenset(
    {
        *("DEVICE", "TORCH_THREADS", "MODEL_IDLE_S", "MODEL_DIR", "HUB_REPOSITORIES"),
        *("DEMUCS_MODEL", "SEPARATION_ENGINE", "SEPARATION_PRECISION", "MAX_SEPARATION_S"),
        *("WHISPER_MODEL", "WHISPER_ENGINE", "WHISPER_RUNTIME"),
        *("MUSICGEN_MODEL", "MUSICGEN_ENGINE", "MUSICGEN_PRECISION"),
    }
)

AnyFamily = Family[Any, Any, Any]
MakeFamily = Callable[[Config, Sources, "Models"], AnyFamily]


def demucs(config: Config, sources: Sources, _models: "Models") -> Separation:
    return Separation(
        DemucsCatalogue(
            config.bundled_dir / "demucs-mini",
            config.model_dir / "demucs",
            config.torch_checkpoints,
            HubAccess(config.hub_repositories, config.hub_folder),
        ),
        _engine(config, config.SEPARATION_ENGINE, config.SEPARATION_PRECISION),
        sources,
        max_work_s=config.MAX_SEPARATION_S,
        reserve=sources.storage.check_space,
    )


def whisper(config: Config, sources: Sources, models: "Models") -> Transcription:
    return Transcription(
        WhisperCatalogue(
            config.bundled_dir / "whisper-mini",
            config.model_dir / "whisper",
            config.whisper_cache,
            config.WHISPER_ENGINE,
        ),
        _engine(config, config.WHISPER_RUNTIME, "auto"),
        sources,
        DemucsVocals(models, sources),
    )


def musicgen(config: Config, sources: Sources, _models: "Models") -> Generation:
    return Generation(
        MusicGenCatalogue(config.bundled_dir / "musicgen-mini", config.model_dir / "musicgen"),
        _engine(config, config.MUSICGEN_ENGINE, config.MUSICGEN_PRECISION),
        sources,
    )


def analysis(config: Config, sources: Sources, _models: "Models") -> Analysis:
    return Analysis(AnalysisCatalogue(config.bundled_dir / "analysis-mini"), sources)


FAMILIES: dict[type[AnyFamily], MakeFamily] = {
    Separation: demucs,
    Transcription: whisper,
    Generation: musicgen,
    Analysis: analysis,
}
OPTIONS: dict[str, type[JobOptions]] = {family.name: family.options for family in FAMILIES}
FORMATS: dict[str, Mapping[str, str]] = {family.name: family.formats for family in FAMILIES}


def _engine(config: Config, engine: str, precision: str) -> EngineSettings:
    graphs = config.model_dir / GRAPHS
    return EngineSettings(engine, precision, config.TORCH_THREADS, graphs, config.DEVICE)


class Models(Processors):
    """The processors of all model families."""

    def __init__(
        self,
        config: Config,
        storage: Storage,
        store: JobStore,
        families: Mapping[type[AnyFamily], MakeFamily] = FAMILIES,
        *,
        registry: Registry | None = None,
        workers: Workers | None = None,
        partials: Partials | None = None,
    ) -> None:
        """`workers` run the jobs; None: this process does. `partials` are in memory by default."""
        super().__init__(workers)
        self.registry = registry or Registry(config.MODEL_IDLE_S)
        self.partials = partials or LocalPartials()
        downloads = Downloads()
        sources = Sources(storage, store, self)
        for make in families.values():
            family = make(config, sources, self)
            info = MODELS[family.name]
            self.add(
                Processor(
                    family,
                    default=getattr(config, f"{family.name.upper()}_MODEL", BUNDLED),
                    file_types=info["file_types"],
                    purpose=info["purpose"],
                    storage=storage,
                    registry=self.registry,
                    downloads=downloads,
                    partials=self.partials,
                )
            )

    def speech(self) -> Processor[Any, SpeechEngine, Any]:
        """The model that live transcription runs on."""
        return self.get(Transcription.name)


class DemucsVocals:
    """The vocals that Whisper listens to, separated by Demucs."""

    def __init__(self, models: Models, sources: Sources) -> None:
        self._models = models
        self._sources = sources

    def _demucs(self) -> Processor[SeparationOptions, Any, SeparationResult]:
        return self._models.get(Separation.name)

    def _family(self) -> Separation:
        family = self._demucs().family
        assert isinstance(family, Separation)
        return family

    def check(self, upload: Upload, variant: str | None) -> str:
        assert upload.sound is not None
        name = variant or self._demucs().default
        if earlier := self._sources.find(upload, VOCALS, variant):
            self._family().check_stems(name, [VOCALS])
            return self._identity(upload, earlier[0])
        self._family().check_stems(name, [VOCALS], upload.sound.duration_s)
        return self._family().identity(name, SeparationOptions())

    def _identity(self, upload: Upload, job: Job) -> str:
        """That of the separation which a job has made."""
        request = job.request
        if request.model != Separation.name:
            stored: str = request.options.get(SOURCE_IDENTITIES, {}).get(
                VOCALS, request.fingerprint
            )
            return stored
        options = {**request.options, "model_variant": request.variant}
        try:
            again = self._demucs().request(upload, options)
        except StudioError:
            return request.fingerprint
        # Otherwise its weights or settings have changed since.
        if request.fingerprint not in again.fingerprints:
            return request.fingerprint
        return self._family().identity(request.variant, SeparationOptions(**again.options))

    def find(self, upload: Upload, variant: str | None) -> tuple[str, Source] | None:
        if existing := self._sources.find(upload, VOCALS, variant):
            job, source = existing
            return job.job_id, source
        return None

    def fetch(self, variant: str | None, report: Report) -> None:
        demucs = self._demucs()
        demucs.fetch(variant or demucs.default, downloading(report))

    def separate(
        self, upload: Upload, variant: str | None, context: JobContext[Any]
    ) -> tuple[VocalsResult, Path]:
        demucs = self._demucs()
        name = variant or demucs.default
        options = SeparationOptions(stems=[VOCALS])
        with demucs.lease(name, context.report) as bag:
            result = demucs.family.work(bag, upload, context.with_options(options, context.report))
        part = VocalsResult.from_dict({**result.to_dict(), "variant": name})
        return part, context.work / f"{VOCALS}.wav"

    def tracks(self, separation: VocalsResult) -> Sequence[Track]:
        tracks = self._demucs().family.tracks(SeparationResult.from_dict(separation.to_dict()))
        return [replace(track, variant=separation.variant) for track in tracks]

    def joined(self, separation: VocalsResult) -> Track | None:
        return self._demucs().family.joined(SeparationResult.from_dict(separation.to_dict()))
