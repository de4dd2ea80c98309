"""The model processors: Demucs, Whisper and MusicGen; and the registry that leases loaded models.

A processor turns a request's JSON into a checked job, and runs the job. A loaded model is shared:
it is leased with `with`, cannot be unloaded while in use, and leaves memory after an idle time.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock, Timer
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from config import MODELS, ROOT, Config
from studio.errors import (
    InvalidOption,
    ModelNotImplemented,
    UnknownFormat,
    UnknownModel,
    UnknownOption,
    UnknownVariant,
    WrongFileType,
)
from studio.jobs.job import Job, Request
from studio.separation.catalogue import Catalogue
from studio.separation.engines import EngineSettings, expected
from studio.separation.hub import HUB_PREFIX
from studio.separation.network import check_stems
from studio.separation.options import SeparationOptions
from studio.storage import Storage, Upload

log = logging.getLogger(__name__)

Options = TypeVar("Options", bound=BaseModel)
Report = Callable[[str, float], None]


class _Slot:
    """One loaded model, how many use it, and when the last of them stopped."""

    def __init__(self) -> None:
        self.loading = Lock()
        self.model: Any = None
        self.users = 0
        self.idle_since_s = time.monotonic()
        self.timer: Timer | None = None

    def start_timer(self, after_s: float, unload: Callable[[float], None], idle_s: float) -> None:
        self.stop_timer()
        self.timer = Timer(after_s, unload, [idle_s])
        self.timer.daemon = True
        self.timer.start()

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Registry:
    """Loaded models by name. Thread-safe; a model is loaded once, however many ask for it."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._slots: dict[str, _Slot] = {}
        self._lock = RLock()

    @contextmanager
    def lease(self, name: str, load: Callable[[], Any]) -> Iterator[Any]:
        """The model `name`, loaded with `load` unless it is there; kept while the block runs.

        Models that nobody uses make room before another is loaded.
        """
        with self._lock:
            slot = self._slots.setdefault(name, _Slot())
            slot.users += 1
        try:
            with slot.loading:
                if slot.model is None:
                    self._unload_idle(0.0)
                    began_s = time.monotonic()
                    slot.model = load()
                    log.info("loaded %s in %.1f s", name, time.monotonic() - began_s)
            yield slot.model
        finally:
            self._release(slot)

    def loaded(self) -> list[str]:
        with self._lock:
            return sorted(name for name, slot in self._slots.items() if slot.model is not None)

    def _release(self, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            slot.idle_since_s = time.monotonic()
            slot.start_timer(self._idle_s + 0.05, self._unload_idle, self._idle_s)

    def _unload_idle(self, idle_s: float) -> None:
        now_s = time.monotonic()
        with self._lock:
            for name, slot in list(self._slots.items()):
                if slot.users == 0 and now_s - slot.idle_since_s >= idle_s:
                    slot.stop_timer()
                    del self._slots[name]
                    log.info("unloaded %s", name)


class Processor(Protocol):
    """What the web and the runner know of a model."""

    @property
    def options(self) -> type[BaseModel] | None:
        """The options it takes; None while it does not work."""

    def describe(self) -> dict[str, Any]:
        """Its variants and which is the default, for `GET /models`."""

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        """Check a request's JSON. Raises a StudioError that names what is wrong."""

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        """Do a job and publish its results; the description of the results."""


class Demucs:
    """Separates a song into stems."""

    options = SeparationOptions

    def __init__(self, config: Config, storage: Storage, registry: Registry) -> None:
        self._default = config.DEMUCS_MODEL
        self._engine = EngineSettings(
            config.SEPARATION_ENGINE,
            config.SEPARATION_PRECISION,
            config.TORCH_THREADS,
            config.model_dir / ".graphs",
        )
        self._storage = storage
        self._registry = registry
        self._catalogue = Catalogue(
            ROOT / "pretrained" / "demucs-mini",
            config.model_dir / "demucs",
            config.torch_checkpoints,
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
        return {"default": self._default, "variants": variants}

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        options = checked(SeparationOptions, body)
        variant = options.model_variant or self._default
        if not self._catalogue.knows(variant):
            raise UnknownVariant(
                f"Demucs has no variant {variant!r}; it has "
                f"{', '.join(self._catalogue.names())}, and {HUB_PREFIX}NAMESPACE/NAME."
            )
        found = self._catalogue.find(variant)
        if options.stems and found.stems:
            check_stems(options.stems, found.stems)
        values = options.model_dump(exclude={"model_variant"})
        if values["stems"]:
            values["stems"] = sorted(set(values["stems"]))
        identity = [path.stat().st_mtime_ns for path in found.files]
        engine = [self._engine.engine, self._engine.precision]
        key = [upload.sha256, "demucs", variant, str(found.where), identity, engine, values]
        fingerprint = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return Request(upload.file_id, "demucs", variant, values, fingerprint)

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        from studio.separation.separate import separate
        from studio.separation.weights import load

        request = job.request
        upload = self._storage.upload(request.file_id)
        report("loading model", 0.0)
        with (
            self._registry.lease(
                f"demucs/{request.variant}",
                lambda: load(self._catalogue, request.variant, self._engine),
            ) as bag,
            self._storage.work(job.job_id) as work,
        ):
            result = separate(
                bag,
                self._storage.source(upload),
                SeparationOptions(**request.options),
                work,
                report,
                self._storage.check_space,
            )
            self._storage.publish(work, request.file_id, job.job_id)
        return result


class NotYet:
    """A model that is listed but does not work yet."""

    options = None

    def __init__(self, title: str, default: str) -> None:
        self._title = title
        self._default = default

    def describe(self) -> dict[str, Any]:
        return {"default": self._default, "variants": {}}

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        raise ModelNotImplemented(
            f"{self._title} is not part of this version yet. Only demucs can process files now."
        )

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        raise ModelNotImplemented(f"{self._title} is not part of this version yet.")


class Models:
    """All processors by name, in the order of `config.MODELS`."""

    def __init__(self, config: Config, storage: Storage) -> None:
        self.registry = Registry(config.MODEL_IDLE_S)
        self._processors: dict[str, Processor] = {
            "demucs": Demucs(config, storage, self.registry),
            "whisper": NotYet("Whisper", config.WHISPER_MODEL),
            "musicgen": NotYet("MusicGen", config.MUSICGEN_MODEL),
        }

    def names(self) -> list[str]:
        return list(self._processors)

    def options(self) -> list[type[BaseModel]]:
        """The options of the models that work, for the API's description."""
        return [p.options for p in self._processors.values() if p.options is not None]

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
        if upload.file_type not in accepted:
            raise WrongFileType(
                f"{name} takes {', '.join(sorted(accepted))} files; {upload.filename!r} is "
                f"{upload.file_type}."
            )
        return processor.request(upload, body)


def checked(kind: type[Options], body: dict[str, Any]) -> Options:
    """The options of a request body. Raises UnknownOption, UnknownFormat or InvalidOption."""
    try:
        return kind(**body)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownOption(
                f"There is no option {name!r}; there are {', '.join(kind.model_fields)}."
            ) from None
        sentence = f"The option {name!r} is {first['input']!r}: {first['msg']}."
        if name == "format":
            raise UnknownFormat(sentence) from None
        raise InvalidOption(sentence) from None
