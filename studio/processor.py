"""The generic model processor: everything that the model families have in common."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic

from pydantic import ValidationError

from studio import audio, logs
from studio.errors import WrongFileType
from studio.family import Family, JobContext, ModelT, OptionsT, ResultT
from studio.inference.downloads import Downloads
from studio.inference.registry import Registry
from studio.inference.transfer import OnTransfer, Transfer
from studio.inference.variants import Where
from studio.jobs.body import SOURCE_IDENTITIES, fingerprint, parse_options
from studio.jobs.job import Job, Report, Request
from studio.jobs.partials import Partials
from studio.results import Track
from studio.settings.values import AUDIO_FILE_TYPES, MORE_FILE_TYPES
from studio.storage.storage import Storage
from studio.storage.uploads import Upload

log = logs.RateLimitedLog(logging.getLogger(__name__))


def downloading(report: Report) -> OnTransfer:
    """Report a download as a stage of a job, as soon as its size is known."""

    def on_transfer(transfer: Transfer) -> None:
        if transfer.total_bytes:
            report("downloading model", transfer.fraction)
        else:
            report("loading model", 0.0)

    return on_transfer


class Processor(Generic[OptionsT, ModelT, ResultT]):
    """Checks the requests of a model, runs its jobs, and lists their tracks.

    `file_types` are the file extensions that `GET /models` lists, and `accepted_types` all accepted
    ones. `default` is the variant for requests that name none.
    """

    def __init__(
        self,
        family: Family[OptionsT, ModelT, ResultT],
        *,
        default: str,
        file_types: frozenset[str],
        purpose: str,
        storage: Storage,
        registry: Registry,
        downloads: Downloads,
        partials: Partials,
    ) -> None:
        self.family = family
        self.name = family.name
        self.default = default
        self.file_types = file_types
        self.purpose = purpose
        # A model that takes every common audio format takes the others too.
        takes_any_sound = file_types >= AUDIO_FILE_TYPES
        self.accepted_types = file_types | (MORE_FILE_TYPES if takes_any_sound else frozenset())
        self._storage = storage
        self._registry = registry
        self._downloads = downloads
        self._partials = partials

    def describe(self) -> dict[str, Any]:
        """The model and its variants, for `GET /models`."""
        catalogue = self.family.catalogue
        variants = {name: catalogue.find(name) for name in catalogue.names()}
        return {
            "purpose": self.purpose,
            "file_types": sorted(self.file_types),
            "default": self.default,
            "variants": {
                name: {
                    "purpose": variant.purpose,
                    **variant.details(),
                    "weights": variant.where,
                    "engine": self.family.engine(variant),
                    "size_bytes": variant.size_bytes,
                    "licence": variant.licence,
                }
                for name, variant in variants.items()
            },
        }

    def check_default(self) -> None:
        """Raise UnknownVariant if the default variant does not exist."""
        self.check_variant(self.default)

    def check_variant(self, name: str) -> None:
        """Raise UnknownVariant if a variant does not exist."""
        self.family.check_variant(name)

    def request(self, upload: Upload, body: dict[str, Any]) -> Request:
        """Check a request for a job. Raises a StudioError."""
        family = self.family
        reads_upload = family.reads_upload(body)
        if upload.file_type not in self.accepted_types and reads_upload:
            raise WrongFileType(
                f"{self.name} accepts {', '.join(sorted(self.accepted_types))} files; "
                f"{upload.filename!r} is {upload.file_type}."
            )
        given = family.options_in(self._storage.source(upload)) if reads_upload else {}
        options = parse_options(family.options, {**given, **body})
        name = options.model_variant or self.default
        variant = family.check_variant(name)
        kept = family.check(upload, options, variant)
        values = {**options.model_dump(exclude={"model_variant"}), **kept}
        # Their identities count, because their content may be uploaded again under another ID.
        contents = values | dict.fromkeys(family.references)
        source, settings = [upload.sha256], family.settings()

        def with_weights(weights: list[str]) -> str:
            return fingerprint([source, self.name, name, weights, settings, contents])

        is_downloaded = variant.where is Where.DOWNLOADED and name in family.catalogue.releases
        return Request(
            upload.file_id,
            self.name,
            name,
            values,
            with_weights(variant.fingerprint()),
            # The weights of a release do not change, so a job that downloaded them used these.
            with_weights([]) if is_downloaded else None,
        )

    @contextmanager
    def lease(self, variant: str, report: Report = lambda *_: None) -> Iterator[ModelT]:
        """The loaded model of a variant, shared by jobs and live sessions."""
        self.fetch(variant, downloading(report))
        report("loading model", 0.0)
        name = f"{self.name}/{variant}"
        with self._registry.lease(name, lambda: self.family.load(variant)) as model:
            yield model

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None:
        """Download the weights of a variant if they are not on this machine.

        Raises WeightsMissing, ModelUnusable or DiskFull.
        """
        name = f"{self.name}/{variant}"
        if name in self._registry.loaded():
            return
        if self.family.catalogue.find(variant).where is Where.AVAILABLE:
            self._downloads.run(name, partial(self.family.fetch, variant), on_transfer)

    def run(self, job: Job, report: Report) -> dict[str, Any]:
        """Run a job and publish its results. Returns the result for the job record."""
        upload = self._storage.upload(job.request.file_id)
        values = dict(job.request.options)
        source_identities = values.pop(SOURCE_IDENTITIES, {})
        options = self.family.options(**values)
        with (
            self._storage.hold(),
            self.lease(job.request.variant, report) as model,
            self._storage.work(job.job_id) as work,
            self._partials.during(job) as show,
        ):
            context = JobContext(
                options,
                work,
                report,
                reserve=self._storage.check_space,
                keep=lambda path, name: self._storage.link(path, work / name),
                job_id=job.job_id,
                show=show,
                read_tags=lambda: audio.read_all_tags(self._storage.source(upload).path),
                source_identities=source_identities,
            )
            result = self.family.work(model, upload, context)
            self._storage.publish(work, job.result_id, lambda: report("publishing", 1.0))
        return result.to_dict()

    def result(self, job: Job) -> ResultT | None:
        """The result of a completed job."""
        if job.result is None:
            return None
        try:
            return self.family.result.from_dict(job.result)
        except ValidationError as error:
            log.warning("the result of job %s cannot be read: %s", job.job_id, error)
            return None

    def tracks(self, job: Job) -> Sequence[Track]:
        """The tracks of a job; empty until it is completed."""
        result = self.result(job)
        return () if result is None else self.family.tracks(result)

    def joined(self, job: Job) -> Track | None:
        """All tracks of a completed job as one file, if there is one."""
        result = self.result(job)
        return None if result is None else self.family.joined(result)
