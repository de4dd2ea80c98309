"""The model processors: passes settings to each model family."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from config import MODELS, Config
from studio.analysis.catalogue import AnalysisCatalogue
from studio.analysis.family import Analysis
from studio.errors import UnknownModel
from studio.family import Family, JobContext
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.family import Generation
from studio.inference.downloads import Downloads
from studio.inference.engine_settings import EngineSettings
from studio.inference.registry import Registry
from studio.inference.variants import BUNDLED
from studio.inference.warm_up import Leases, Remarks, warmed_up
from studio.jobs.body import JobOptions
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.partials import LocalPartials, Partials
from studio.jobs.scale.workers import Workers
from studio.jobs.store import JobStore
from studio.processor import Processor, downloading
from studio.results import Result, Track
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.family import Separation
from studio.separation.hub import HubAccess
from studio.separation.options import SeparationOptions
from studio.separation.result import SeparationResult
from studio.sources import Source, Sources
from studio.storage.files import Storage, Upload
from studio.transcription.catalogue import WhisperCatalogue
from studio.transcription.engine import SpeechEngine
from studio.transcription.family import Transcription
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
AnyProcessor = Processor[Any, Any, Any]
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


class Models:
    """All processors by name, in the order of `families`."""

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
        self.registry = registry or Registry(config.MODEL_IDLE_S)
        downloads = Downloads()
        self.partials = partials or LocalPartials()
        self._workers = workers
        self._processors: dict[str, AnyProcessor] = {}
        sources = Sources(storage, store, self)
        for make in families.values():
            family = make(config, sources, self)
            info = MODELS[family.name]
            self._processors[family.name] = Processor(
                family,
                default=getattr(config, f"{family.name.upper()}_MODEL", BUNDLED),
                file_types=info["file_types"],
                purpose=info["purpose"],
                storage=storage,
                registry=self.registry,
                downloads=downloads,
                partials=self.partials,
            )

    def names(self) -> list[str]:
        return list(self._processors)

    def get(self, name: str) -> AnyProcessor:
        if name not in self._processors:
            raise UnknownModel(
                f"The model {name!r} does not exist. Available: {', '.join(self.names())}."
            )
        return self._processors[name]

    def speech(self) -> Processor[Any, SpeechEngine, Any]:
        """The model that live transcription runs on."""
        return self.get(Transcription.name)

    def all(self) -> list[AnyProcessor]:
        return list(self._processors.values())

    def names_for(self, upload: Upload) -> list[str]:
        """The models that take an upload."""
        return [one.name for one in self.all() if upload.file_type in one.accepted_types]

    def check_text(self, path: Path) -> None:
        """Raise TextUnreadable where a text file is of no use to any model."""
        any(processor.family.takes_text(path) for processor in self.all())

    def at_start(self, processors: Iterable[AnyProcessor]) -> Leases:
        """How the variants that are loaded at the start are leased, by model and variant."""
        return {
            f"{one.name}/{one.default}": partial(
                warmed_up,
                partial(one.lease, one.default),
                one.family.rehearse,
                one.family.remark,
            )
            for one in processors
            if one.family.loads_at_start
        }

    def device_notes(self, processors: Iterable[AnyProcessor], loaded: Container[str]) -> Remarks:
        """Why default variants that are not in `loaded` will not run on a GPU, by name."""
        notes = {f"{one.name}/{one.default}": one.family.device_note for one in processors}
        return {name: note for name, note in notes.items() if name not in loaded}

    def options(self) -> dict[str, type[JobOptions]]:
        """The options of each model, for the API's description."""
        return {one.name: one.family.options for one in self.all()}

    def results(self) -> dict[str, type[Result]]:
        """What the jobs of each model produce, for the API's description."""
        return {one.name: one.family.result for one in self.all()}

    def options_of(self, name: str) -> type[JobOptions]:
        """The options of a model. Raises UnknownModel."""
        options: type[JobOptions] = self.get(name).family.options
        return options

    def file_types_of(self, name: str) -> frozenset[str]:
        """The file name endings that a model takes."""
        return self.get(name).accepted_types

    def formats_of(self, name: str) -> dict[str, str]:
        """The formats of a model's tracks, with their content types."""
        return dict(self.get(name).family.formats)

    def formats(self) -> dict[str, str]:
        """All formats of tracks, with their content types."""
        return {name: kind for one in self.all() for name, kind in one.family.formats.items()}

    def mixed(self) -> list[str]:
        """The well-known tracks that can be mixed."""
        return list(dict.fromkeys(name for one in self.all() for name in one.family.mixed))

    def tracks_help(self) -> str:
        """What tracks are called, for the API's description."""
        return "; ".join(f"{one.name}: {one.family.tracks_help}" for one in self.all())

    def own_description(self) -> dict[str, Any]:
        """The models and their variants as they are in this process."""
        return {name: processor.describe() for name, processor in self._processors.items()}

    def describe(self) -> dict[str, Any]:
        """The models and their variants, as those who run the jobs have them."""
        described = self.own_description()
        if self._workers is not None:
            for name, one in described.items():
                one["variants"] = self._workers.describe(name, one["variants"])
        return described

    def note(self, job: Job) -> str | None:
        """Why a queued job will not begin for now; None if nothing is known against it."""
        model, variant = job.request.model, job.request.variant
        workers = self._workers
        if job.state is not State.QUEUED or workers is None or workers.can_run(model, variant):
            return None
        return (
            f"No running worker takes jobs for {model}/{variant} from the queue "
            f"{workers.queue(model, variant)!r}. The job waits until one is started, or until you "
            "cancel it."
        )

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request:
        """Check that a model takes the file and the options."""
        return self.get(name).request(upload, body)

    def result(self, job: Job) -> Result | None:
        """What a completed job produced."""
        return self.get(job.request.model).result(job)

    def tracks(self, job: Job) -> Sequence[Track]:
        """The tracks of a job; none before it is completed."""
        return self.get(job.request.model).tracks(job)

    def joined(self, job: Job) -> Track | None:
        """All tracks of a completed job as one file, if there is one."""
        return self.get(job.request.model).joined(job)


class DemucsVocals:
    """The vocals that Whisper listens to, separated by Demucs."""

    def __init__(self, models: Models, sources: Sources) -> None:
        self._models = models
        self._sources = sources

    def _demucs(self) -> Processor[SeparationOptions, Any, SeparationResult]:
        return self._models.get(Separation.name)

    def check(self, variant: str | None) -> None:
        demucs = self._demucs()
        assert isinstance(demucs.family, Separation)
        demucs.family.check_stems(variant or demucs.default, ["vocals"])

    def find(self, upload: Upload, variant: str | None) -> tuple[str, Source] | None:
        if found := self._sources.find(upload, "vocals", variant):
            job, source = found
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
        options = SeparationOptions(stems=["vocals"])
        with demucs.lease(name, context.report) as bag:
            result = demucs.family.work(bag, upload, context.with_options(options, context.report))
        part = VocalsResult.from_dict({**result.to_dict(), "variant": name})
        return part, context.work / "vocals.wav"

    def tracks(self, separation: VocalsResult) -> Sequence[Track]:
        tracks = self._demucs().family.tracks(SeparationResult.from_dict(separation.to_dict()))
        return [replace(track, variant=separation.variant) for track in tracks]

    def joined(self, separation: VocalsResult) -> Track | None:
        return self._demucs().family.joined(SeparationResult.from_dict(separation.to_dict()))
