"""All model processors by name."""

from collections.abc import Container, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from studio.errors import UnknownModel
from studio.inference.warm_up import Leases, Remarks, warmed_up
from studio.jobs.body import JobOptions
from studio.jobs.job import Job, Request, State
from studio.jobs.scale.workers import Workers
from studio.processor import Processor
from studio.results import Result, Track
from studio.storage.uploads import Upload

AnyProcessor = Processor[Any, Any, Any]


class Processors:
    """Processors by the name of their model, in the order in which they were added."""

    def __init__(self, workers: Workers | None = None) -> None:
        """`workers` run the jobs; None: this process does."""
        self._workers = workers
        self._processors: dict[str, AnyProcessor] = {}

    def add(self, processor: AnyProcessor) -> None:
        self._processors[processor.name] = processor

    def names(self) -> list[str]:
        return list(self._processors)

    def get(self, name: str) -> AnyProcessor:
        if name not in self._processors:
            raise UnknownModel(
                f"The model {name!r} does not exist. Available: {', '.join(self.names())}."
            )
        return self._processors[name]

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
        """The file extensions that a model accepts."""
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
