"""The interface of a model family: options, variants, loading and running."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from studio import audio
from studio.inference.transfer import OnTransfer
from studio.inference.variants import Catalogue, Variant
from studio.jobs.body import JobOptions
from studio.jobs.job import Report
from studio.results import Result, Track
from studio.storage.results import StoredFile
from studio.storage.uploads import Upload

OptionsT = TypeVar("OptionsT", bound=JobOptions)
ModelT = TypeVar("ModelT")
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True)
class JobContext(Generic[OptionsT]):
    """What a family needs to run a job, besides its model and source.

    Results are written into `work`. `report(stage, progress)` raises if the job must end, and
    `reserve(bytes)` raises DiskFull if there is not enough space. `keep(path, name)` adds an
    existing file to the results, without copying if possible. `show(item)` makes a part of the
    result visible while the job runs. `source_identities` are those of the sounds that the options
    named when the job was requested, by option.
    """

    options: OptionsT
    work: Path
    report: Report = lambda *_: None
    _: KW_ONLY
    reserve: Callable[[int], None] = lambda _: None
    keep: Callable[[Path, str], None] = lambda *_: None
    job_id: str = ""
    show: Callable[[dict[str, Any]], None] = lambda _: None
    read_tags: Callable[[], audio.Tags] = audio.Tags
    source_identities: Mapping[str, str] = field(default_factory=dict)

    def with_options(self, options: Any, report: Report) -> "JobContext[Any]":
        """The context of a part of the job with its own options and progress."""
        return replace(self, options=options, report=report)

    def encode_tracks(
        self, names: Sequence[str], audio_format: str, peaks: list[float], share: float
    ) -> float:
        """Encode the WAV tracks in `work` into the wanted format, after `share` of the job.

        Returns their common gain, under which nothing with one of the `peaks` clips.
        """
        gain = audio.shared_gain(peaks)
        audio.encode_tracks(
            self.work,
            names,
            audio_format,
            gain,
            lambda done: self.report("encoding", share + (1.0 - share) * done),
            read_tags=self.read_tags,
        )
        return gain


def share_before_encoding(audio_format: str, encoding_share: float) -> float:
    """The share of a job before its WAV tracks are encoded, which `encoding_share` estimates."""
    return 1.0 if audio_format == "wav" else 1.0 - encoding_share


class Family(ABC, Generic[OptionsT, ModelT, ResultT]):
    """A model family. `studio.processor` implements what all families have in common.

    `name` is the name of the model in URLs. `formats` maps the formats of its tracks to content
    types. `tracks_help` describes its tracks in the OpenAPI document, and `mixed` lists well-known
    tracks that can be mixed. `references` are options that name other files, whose identities
    `check` stores. A model that `loads_at_start` is loaded and warmed up when the server starts.
    """

    name: ClassVar[str]
    options: type[OptionsT]
    result: type[ResultT]
    formats: ClassVar[Mapping[str, str]]
    tracks_help: ClassVar[str]
    mixed: ClassVar[Sequence[str]] = ()
    loads_at_start: ClassVar[bool] = False
    references: ClassVar[frozenset[str]] = frozenset()
    catalogue: Catalogue[Any]

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None:
        """Download the weights of a variant if they are not on this machine.

        Raises WeightsMissing, ModelUnusable or DiskFull.
        """

    @abstractmethod
    def load(self, variant: str) -> ModelT:
        """The loaded model of a variant. Raises WeightsMissing or ModelUnusable."""

    @abstractmethod
    def work(self, model: ModelT, upload: Upload, context: JobContext[OptionsT]) -> ResultT:
        """Run a job, and write its tracks into `context.work`."""

    @abstractmethod
    def tracks(self, result: ResultT) -> Sequence[Track]:
        """The tracks of a completed job."""

    def joined(self, result: ResultT) -> Track | None:
        """All tracks of a completed job as one file with the channels of each, if there is one."""
        return None

    def rehearse(self, model: ModelT) -> None:
        """Warm up a model, so that the first job has no start-up cost."""

    def remark(self, model: ModelT) -> str | None:
        """Why a loaded model does not run on the best device or engine; None if it does."""
        return None

    def device_note(self) -> str | None:
        """Why models that are not loaded yet will not run on a GPU; None if they will, or need not.

        PyTorch may be imported to find out.
        """
        return None

    def engine(self, variant: Any) -> str | None:
        """The engine of a variant; None if unknown before it is loaded."""
        return None

    def settings(self) -> list[Any]:
        """The operator's settings that results depend on."""
        return []

    def reads_upload(self, body: Mapping[str, Any]) -> bool:
        """Whether a job works on the upload itself, and not on a track of it."""
        return True

    def takes_text(self, path: Path) -> bool:
        """Whether a job can use a text file. Raises TextUnreadable with the reason if not."""
        return False

    def options_in(self, file: StoredFile) -> dict[str, Any]:
        """Options in the file itself; those of the request take precedence.

        `file.path` may download it, so this reads only what must be read before the job.
        """
        return {}

    def check(self, upload: Upload, options: OptionsT, variant: Any) -> dict[str, Any]:
        """Option values to store with the job, which replace the given ones.

        They include SOURCE_IDENTITIES if options name other sounds than the upload. Raises a
        StudioError if the options do not suit the upload or the variant.
        """
        return {}

    def check_variant(self, name: str) -> Variant:
        """A variant. Raises UnknownVariant."""
        variant: Variant = self.catalogue.check(name)
        return variant
