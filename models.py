"""The model processors: Demucs, Whisper and MusicGen.

A processor turns a request's JSON into a checked job, and runs the job.
"""

import secrets
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from config import MODELS, ROOT, Config
from studio.errors import InvalidOption, UnknownModel, UnknownVariant, WrongFileType
from studio.generation.catalogue import Catalogue as MusicCatalogue
from studio.generation.load import EngineSettings as MusicEngineSettings
from studio.generation.load import expected as expected_for_music
from studio.generation.model import MusicModel
from studio.generation.options import GenerationOptions
from studio.generation.prompt import read_prompt
from studio.generation.sources import Source, music_of, sounds_of, upload_of
from studio.inference.registry import Registry
from studio.inference.warm_up import Leases, used
from studio.jobs.body import checked, fingerprint
from studio.jobs.job import Job, Report, Request
from studio.jobs.store import JobStore
from studio.separation.catalogue import Catalogue, Variant
from studio.separation.engines import EngineSettings, expected
from studio.separation.hub import HUB_PREFIX, HubAccess, hub_repository, is_hub_name
from studio.separation.network import Bag, check_stems
from studio.separation.options import SeparationOptions
from studio.separation.tracks import MIXTURE, stem_there
from studio.storage.files import Storage, Upload
from studio.transcription.catalogue import Catalogue as WhisperCatalogue
from studio.transcription.catalogue import Variant as WhisperVariant
from studio.transcription.engine import SpeechEngine, rehearse
from studio.transcription.load import SpeechSettings
from studio.transcription.options import TranscriptionOptions

# Share of the work that separating takes, roughly, of a job that then transcribes the vocals.
SEPARATION_SHARE = 0.8


class Processor(Protocol):
    """What the web and the runner know of a model."""

    @property
    def options(self) -> type[BaseModel]:
        """The options it takes."""

    default: str
    """The variant that is used unless a request names one."""

    def check_variant(self, variant: str) -> Any:
        """What is known of a variant. Raises UnknownVariant."""

    def describe(self) -> dict[str, Any]:
        """Its variants and which is the default, for `GET /models`."""

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        """Check a request's JSON. Raises a StudioError that names what is wrong."""

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        """Do a job and publish its results; the description of the results."""


class Demucs:
    """Separates a song into stems."""

    options = SeparationOptions

    def __init__(
        self, config: Config, storage: Storage, registry: Registry, store: JobStore
    ) -> None:
        self.default = config.DEMUCS_MODEL
        self._max_work_s = config.MAX_SEPARATION_S
        self._store = store
        self._engine = EngineSettings(
            config.SEPARATION_ENGINE,
            config.SEPARATION_PRECISION,
            config.TORCH_THREADS,
            config.model_dir / ".graphs",
            config.DEVICE,
        )
        self._storage = storage
        self._registry = registry
        self._catalogue = Catalogue(
            ROOT / "pretrained" / "demucs-mini",
            config.model_dir / "demucs",
            config.torch_checkpoints,
            HubAccess(config.hub_repositories, config.hub_folder),
        )

    def describe(self) -> dict[str, Any]:
        variants = {}
        for name in self._catalogue.names():
            found = self._catalogue.find(name)
            variants[name] = {
                "purpose": found.purpose,
                "stems": list(found.stems) if found.stems else None,
                "weights": found.where,
                "engine": expected(self._engine, found.is_transformer),
                "size_bytes": found.size_bytes,
                "licence": found.licence,
            }
        return {"default": self.default, "variants": variants}

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        options = checked(SeparationOptions, body)
        variant = options.model_variant or self.default
        found = self.check_variant(variant, options.stems)
        source = self.source(upload, options.source)
        options.check_work(source.duration_s, self._max_work_s)
        values = options.model_dump(exclude={"model_variant"})
        if values["stems"]:
            values["stems"] = sorted(set(values["stems"]))
        identity = [path.stat().st_mtime_ns for path in found.files]
        engine = [self._engine.engine, self._engine.precision, self._engine.device]
        key = [source.identity, "demucs", variant, str(found.where), identity, engine, values]
        return Request(upload.file_id, "demucs", variant, values, fingerprint(key))

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        request = job.request
        upload = self._storage.upload(request.file_id)
        options = SeparationOptions(**request.options)
        with self._storage.work(job.job_id) as work:
            source = self.source(upload, options.source)
            result = self.separate(source, request.variant, options, work, report)
            if options.source:
                self._storage.link(source.path, work / MIXTURE)
                result["source"] = options.source
            self._storage.publish(work, request.file_id, job.job_id)
        return result

    def source(self, upload: Upload, track: str | None = None) -> Source:
        """An upload, or a track that was generated from it. Raises NotReady, InvalidOption."""
        if track is not None:
            return music_of(self._storage, self._store, upload, track)
        return upload_of(self._storage, upload)

    def check_variant(self, variant: str, stems: list[str] | None = None) -> Variant:
        """The variant, which must exist and have the stems. Raises UnknownVariant, UnknownStem."""
        if not self._catalogue.knows(variant):
            self._check_repository(variant)
            raise UnknownVariant(
                f"Demucs has no variant {variant!r}; it has "
                f"{', '.join(self._catalogue.names())}, and {HUB_PREFIX}NAMESPACE/NAME."
            )
        found = self._catalogue.find(variant)
        if stems and found.stems:
            check_stems(stems, found.stems)
        return found

    def _check_repository(self, variant: str) -> None:
        """Raise UnknownVariant when a variant of the hub is not among HUB_REPOSITORIES."""
        if not is_hub_name(variant) or self._catalogue.hub.allows(variant):
            return
        allowed = ", ".join(sorted(self._catalogue.hub.repositories or ())) or "none"
        raise UnknownVariant(
            f"{variant!r} is in the hub repository {hub_repository(variant)[0]!r}, which is not "
            f"among the HUB_REPOSITORIES of this server ({allowed}). Use a variant of GET /models."
        )

    def lease(self, variant: str) -> AbstractContextManager[Bag]:
        """The bag of a variant, loaded; shared by all jobs."""
        from studio.separation.load import load

        return self._registry.lease(
            f"demucs/{variant}",
            lambda: load(self._catalogue, variant, self._engine, self._storage.check_space),
        )

    def separate(
        self, source: Source, variant: str, options: SeparationOptions, work: Path, report: Report
    ) -> dict[str, Any]:
        """Separate a sound into a work folder; the description of the tracks."""
        from studio.separation.separate import separate

        report("loading model", 0.0)
        with self.lease(variant) as bag:
            reserve = self._storage.check_space
            return separate(bag, source.path, source.duration_s, options, work, report, reserve)


class Whisper:
    """Writes down what is said in a file, or sung in a song."""

    options = TranscriptionOptions

    def __init__(
        self, config: Config, storage: Storage, registry: Registry, store: JobStore, demucs: Demucs
    ) -> None:
        self.default = config.WHISPER_MODEL
        self._engine = SpeechSettings(
            config.WHISPER_RUNTIME,
            config.TORCH_THREADS,
            config.model_dir / ".graphs",
            config.DEVICE,
        )
        self._storage = storage
        self._registry = registry
        self._store = store
        self._demucs = demucs
        self._catalogue = WhisperCatalogue(
            ROOT / "pretrained" / "whisper-mini",
            config.model_dir / "whisper",
            config.whisper_cache,
            config.WHISPER_ENGINE,
        )

    def describe(self) -> dict[str, Any]:
        found = {name: self._catalogue.find(name) for name in self._catalogue.names()}
        variants = {
            name: {
                "purpose": variant.purpose,
                "weights": variant.where,
                "engine": self._catalogue.engine,
                "size_bytes": variant.size_bytes,
                "licence": variant.licence,
            }
            for name, variant in found.items()
        }
        return {"default": self.default, "variants": variants}

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        options = checked(TranscriptionOptions, body)
        variant = options.model_variant or self.default
        found = self.check_variant(variant)
        if found.is_english_only and (options.language or "en", options.task) != (
            "en",
            "transcribe",
        ):
            raise InvalidOption(
                f"The variant {variant!r} knows English only: leave `language` and `task` out, or "
                "use a variant that knows more languages."
            )
        values = options.model_dump(exclude={"model_variant"})
        if options.source == "vocals":
            wanted = options.separation_variant or self._demucs.default
            self._demucs.check_variant(wanted, ["vocals"])
            values["separation_variant"] = options.separation_variant
        path = found.path
        identity = [str(path), path.stat().st_mtime_ns] if path and path.exists() else None
        key = [upload.sha256, "whisper", variant, identity, self._catalogue.engine, values]
        return Request(upload.file_id, "whisper", variant, values, fingerprint(key))

    def variants(self) -> list[str]:
        return self._catalogue.names()

    def check_variant(self, variant: str) -> WhisperVariant:
        if variant not in self._catalogue.names():
            raise UnknownVariant(
                f"Whisper has no variant {variant!r}; it has {', '.join(self._catalogue.names())}."
            )
        return self._catalogue.find(variant)

    def lease(self, variant: str) -> AbstractContextManager[SpeechEngine]:
        """The engine of a variant, loaded; shared by files and live sessions."""
        from studio.transcription.load import load

        return self._registry.lease(
            f"whisper/{variant}",
            lambda: load(self._catalogue, variant, self._engine),
        )

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        from studio.transcription.transcribe import transcribe

        request = job.request
        upload = self._storage.upload(request.file_id)
        assert upload.sound is not None
        options = TranscriptionOptions(**request.options)
        report("loading model", 0.0)
        with (
            self.lease(request.variant) as engine,
            self._storage.work(job.job_id) as work,
        ):
            source, extra, done = self._source(job, upload, options, work, report)

            def report_rest(stage: str, progress: float) -> None:
                report(stage, done + (1.0 - done) * progress)

            result = transcribe(engine, source, upload.sound.duration_s, options, work, report_rest)
            self._storage.publish(work, request.file_id, job.job_id)
        return {**result, **extra}

    def _source(
        self, job: Job, upload: Upload, options: TranscriptionOptions, work: Path, report: Report
    ) -> tuple[Path, dict[str, Any], float]:
        """The sound to listen to, what the result says of it, and the progress so far."""
        if options.source == "mixture":
            return self._storage.source(upload), {"source": "mixture"}, 0.0
        if there := stem_there(
            self._storage, self._store, upload.file_id, "vocals", options.separation_variant
        ):
            earlier, path = there
            return path, {"source": "vocals", "vocals_from": earlier.job_id}, 0.0
        variant = options.separation_variant or self._demucs.default

        def report_part(stage: str, progress: float) -> None:
            report(stage, SEPARATION_SHARE * progress)

        wanted = SeparationOptions(stems=["vocals"])
        source = self._demucs.source(upload)
        found = self._demucs.separate(source, variant, wanted, work, report_part)
        extra = {
            "source": "vocals",
            "vocals_from": job.job_id,
            "separation": {**found, "variant": variant},
        }
        return work / "vocals.wav", extra, SEPARATION_SHARE


class MusicGen:
    """Makes music from a prompt."""

    options = GenerationOptions

    def __init__(
        self, config: Config, storage: Storage, registry: Registry, store: JobStore
    ) -> None:
        self.default = config.MUSICGEN_MODEL
        self._engine = MusicEngineSettings(
            config.MUSICGEN_ENGINE,
            config.MUSICGEN_PRECISION,
            config.TORCH_THREADS,
            config.model_dir / ".graphs",
            config.DEVICE,
        )
        self._storage = storage
        self._registry = registry
        self._store = store
        self._catalogue = MusicCatalogue(
            ROOT / "pretrained" / "musicgen-mini", config.model_dir / "musicgen"
        )

    def describe(self) -> dict[str, Any]:
        variants = self._catalogue.describe(expected_for_music(self._engine))
        return {"default": self.default, "variants": variants}

    def check_variant(self, variant: str) -> Any:
        return self._catalogue.check(variant, GenerationOptions())

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        prompt = read_prompt(self._storage.source(upload))
        options = checked(GenerationOptions, {**prompt.options, **body})
        variant = options.model_variant or self.default
        found = self._catalogue.check(variant, options)
        sounds = sounds_of(self._storage, self._store, upload, options)
        values = options.model_dump(exclude={"model_variant"})
        if options.seed is None:
            values["seed"] = secrets.randbelow(2**32)
        identity = [found.identity, [sound.identity if sound else None for sound in sounds]]
        engine = [self._engine.engine, self._engine.precision, self._engine.device]
        key = [upload.sha256, "musicgen", variant, identity, engine, values]
        return Request(upload.file_id, "musicgen", variant, values, fingerprint(key))

    def lease(self, variant: str) -> AbstractContextManager[MusicModel]:
        """The model of a variant, loaded; shared by all jobs."""
        from studio.generation.load import load

        return self._registry.lease(
            f"musicgen/{variant}", lambda: load(self._catalogue, variant, self._engine)
        )

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        from studio.generation.generate import Order, generate

        request = job.request
        upload = self._storage.upload(request.file_id)
        prompt = read_prompt(self._storage.source(upload))
        options = GenerationOptions(**request.options)
        sounds = sounds_of(self._storage, self._store, upload, options)
        report("loading model", 0.0)
        with self.lease(request.variant) as model, self._storage.work(job.job_id) as work:
            order = Order(prompt.text, options, *sounds)
            result = generate(model, order, work, report, self._storage.check_space)
            self._storage.publish(work, request.file_id, job.job_id)
        return result


class Models:
    """All processors by name, in the order of `config.MODELS`."""

    def __init__(self, config: Config, storage: Storage, store: JobStore) -> None:
        self.registry = Registry(config.MODEL_IDLE_S)
        demucs = Demucs(config, storage, self.registry, store)
        self._demucs = demucs
        self.whisper = Whisper(config, storage, self.registry, store, demucs)
        self._processors: dict[str, Processor] = {
            "demucs": demucs,
            "whisper": self.whisper,
            "musicgen": MusicGen(config, storage, self.registry, store),
        }

    def names(self) -> list[str]:
        return list(self._processors)

    def defaults(self) -> Leases:
        """How the default variants are leased, by model and variant; each is used once at once."""
        bag, engine = self._demucs.default, self.whisper.default
        return {
            f"demucs/{bag}": partial(used, partial(self._demucs.lease, bag), Bag.rehearse),
            f"whisper/{engine}": partial(used, partial(self.whisper.lease, engine), rehearse),
        }

    def options(self) -> list[type[BaseModel]]:
        """The options of the models, for the API's description."""
        return [processor.options for processor in self._processors.values()]

    def get(self, name: str) -> Processor:
        if name not in self._processors:
            raise UnknownModel(f"There is no model {name!r}; there are {', '.join(self.names())}.")
        return self._processors[name]

    def describe(self) -> dict[str, Any]:
        return {
            name: {
                "purpose": MODELS[name]["purpose"],
                "file_types": sorted(MODELS[name]["file_types"]),
                **processor.describe(),
            }
            for name, processor in self._processors.items()
        }

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request:
        """Check that a model takes the file and the options."""
        processor = self.get(name)
        accepted = MODELS[name]["file_types"]
        is_music = name == "demucs" and upload.sound is None and body.get("source") is not None
        if upload.file_type not in accepted and not is_music:
            raise WrongFileType(
                f"{name} takes {', '.join(sorted(accepted))} files; {upload.filename!r} is "
                f"{upload.file_type}."
            )
        return processor.request(upload, body)
