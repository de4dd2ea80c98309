"""What a model family provides: options, variants, how its model is loaded and does its work."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from studio.inference.variants import Catalogue, Variant
from studio.jobs.body import JobOptions
from studio.jobs.job import Report
from studio.results import Result, Track
from studio.storage.files import Upload

OptionsT = TypeVar("OptionsT", bound=JobOptions)
ModelT = TypeVar("ModelT")
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True)
class JobContext(Generic[OptionsT]):
    """What a family needs to do a job besides its model and its source.

    Results are written into `work`. `report(stage, progress)` raises where the job has to end, and
    `reserve(bytes)` raises DiskFull where there is no room for so much. `keep(path, name)` adds an
    existing file to the results, without a copy where possible.
    """

    options: OptionsT
    work: Path
    report: Report = lambda *_: None
    reserve: Callable[[int], None] = lambda _: None
    keep: Callable[[Path, str], None] = lambda *_: None
    job_id: str = ""

    def with_options(self, options: Any, report: Report) -> "JobContext[Any]":
        """The same for a part of the work that has options and progress of its own."""
        return replace(self, options=options, report=report)


class Family(ABC, Generic[OptionsT, ModelT, ResultT]):
    """A model family. `studio.processor` does what all families have in common.

    `name` is the model's name in addresses; `formats` are all formats of its tracks, with their
    content types; `tracks_help` names its tracks in the API's description. A model that
    `loads_at_start` is loaded when the server starts, and rehearsed.
    """

    name: ClassVar[str]
    options: type[OptionsT]
    result: type[ResultT]
    formats: ClassVar[Mapping[str, str]]
    tracks_help: ClassVar[str]
    loads_at_start: ClassVar[bool] = False
    catalogue: Catalogue[Any]

    @abstractmethod
    def load(self, variant: str) -> ModelT:
        """The loaded model of a variant. Raises WeightsMissing or ModelUnusable."""

    @abstractmethod
    def work(self, model: ModelT, upload: Upload, context: JobContext[OptionsT]) -> ResultT:
        """Do a job; its tracks are written into `context.work`."""

    @abstractmethod
    def tracks(self, result: ResultT) -> Sequence[Track]:
        """The tracks of a completed job."""

    def rehearse(self, model: ModelT) -> None:
        """Use a model once, so that the first job finds nothing left to prepare."""

    def engine(self, variant: Any) -> str | None:
        """What a variant runs on; None where only loading it would tell."""
        return None

    def settings(self) -> list[Any]:
        """The operator's settings that results depend on."""
        return []

    def reads_upload(self, body: Mapping[str, Any]) -> bool:
        """Whether a job works on the upload itself, and not on a track of it."""
        return True

    def check_text(self, path: Path) -> None:
        """Raise TextUnreadable where a text file cannot be the source of a job."""

    def options_in(self, path: Path) -> dict[str, Any]:
        """Options that the file itself has; those of the request come before them."""
        return {}

    def check(self, upload: Upload, options: OptionsT, variant: Any) -> dict[str, Any]:
        """Values of options that a job is to keep, in place of those that were given.

        Raises a StudioError where the options suit neither the upload nor the variant.
        """
        return {}

    def check_variant(self, name: str) -> Variant:
        """A variant. Raises UnknownVariant."""
        found: Variant = self.catalogue.check(name)
        return found

    def identity(self, upload: Upload, options: OptionsT) -> list[Any]:
        """Changes with the content of what a job reads. Raises NotReady or InvalidOption."""
        return [upload.sha256]
