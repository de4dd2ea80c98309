"""Demucs as a model family: separates a song into stems."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from studio.errors import InvalidOption
from studio.family import Family, JobContext
from studio.inference.engine_choice import expected_engine
from studio.inference.engine_settings import EngineSettings
from studio.inference.transfer import OnTransfer
from studio.inference.variants import Where
from studio.jobs.body import SOURCE_IDENTITIES, fingerprint
from studio.results import SOUND_FORMATS, Track
from studio.separation.catalogue import SIX, DemucsCatalogue, DemucsVariant
from studio.separation.network import Bag, check_stems
from studio.separation.options import SeparationOptions
from studio.separation.result import MIXTURE, SeparationResult, joined, tracks_of
from studio.sources import Source, Sources
from studio.storage.uploads import Upload


class Separation(Family[SeparationOptions, Bag, SeparationResult]):
    """Separates an uploaded song, or a track that was generated from an uploaded prompt.

    `max_work_s` bounds the seconds of sound that the networks work through in one job.
    """

    name = "demucs"
    options = SeparationOptions
    result = SeparationResult
    formats: ClassVar[Mapping[str, str]] = SOUND_FORMATS
    tracks_help = "a stem such as vocals, no_<stem>, instrumental"
    mixed = SIX
    loads_at_start = True

    def __init__(
        self,
        catalogue: DemucsCatalogue,
        settings: EngineSettings,
        sources: Sources,
        *,
        max_work_s: float,
        reserve: Callable[[int], None],
    ) -> None:
        self.catalogue: DemucsCatalogue = catalogue
        self._settings = settings
        self._sources = sources
        self._max_work_s = max_work_s
        self._reserve = reserve

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None:
        from studio.separation.load import fetch

        fetch(self.catalogue, variant, self._reserve, on_transfer)

    def load(self, variant: str) -> Bag:
        from studio.separation.load import load

        return load(self.catalogue, variant, self._settings, self._reserve)

    def rehearse(self, model: Bag) -> None:
        model.rehearse()

    def remark(self, model: Bag) -> str | None:
        return model.note

    def device_note(self) -> str | None:
        return self._settings.device_note()

    def work(
        self, model: Bag, upload: Upload, context: JobContext[SeparationOptions]
    ) -> SeparationResult:
        from studio.separation.separate import separate

        identity = context.source_identities.get("source")
        source = self.source(upload, context.options.source, identity)
        result = separate(model, source, context)
        if context.options.source is None:
            return result
        context.keep(source.path, MIXTURE)
        return result.model_copy(update={"source": context.options.source})

    def tracks(self, result: SeparationResult) -> list[Track]:
        return tracks_of(result)

    def joined(self, result: SeparationResult) -> Track:
        return joined(result)

    def engine(self, variant: DemucsVariant) -> str | None:
        return expected_engine(self._settings, variant.is_transformer)

    def settings(self) -> list[Any]:
        return self._settings.identity()

    def reads_upload(self, body: Mapping[str, Any]) -> bool:
        return body.get("source") is None

    def check(
        self, upload: Upload, options: SeparationOptions, variant: DemucsVariant
    ) -> dict[str, Any]:
        _check_stems(variant, options.stems)
        source = self.source(upload, options.source)
        options.check_work(source.duration_s, self._max_work_s)
        stems = {"stems": sorted(set(options.stems)) if options.stems else None}
        if options.source is None:
            return stems
        return {**stems, SOURCE_IDENTITIES: {"source": source.identity}}

    def check_stems(self, variant: str, stems: list[str], duration_s: float = 0.0) -> None:
        """Check whether a variant can separate stems of a sound, with default options.

        Raises UnknownVariant, UnknownStem, or InvalidOption if the sound is too long.
        """
        _check_stems(self.catalogue.check(variant), stems)
        work_s = SeparationOptions().work_s(duration_s)
        if work_s > self._max_work_s:
            raise InvalidOption(
                f"Separating the {' and '.join(stems)} of {duration_s:,.0f} s of audio takes as "
                f"much work as {work_s:,.0f} s; the maximum is {self._max_work_s:,.0f} s. Split "
                "the file, or leave out `source`.",
                param="source",
            )

    def identity(self, variant: str, options: SeparationOptions) -> str:
        """Equal for separations of the same song that give the same stems.

        The weights of a release do not change, and may not be on this machine yet.
        """
        checked = self.catalogue.check(variant)
        is_on_hub = checked.where in (Where.AVAILABLE, Where.DOWNLOADED)
        is_release = is_on_hub and variant in self.catalogue.releases
        weights = [] if is_release else checked.fingerprint()
        return fingerprint(
            [self.name, variant, weights, self.settings(), options.shifts, options.overlap]
        )

    def source(
        self, upload: Upload, track: str | None = None, identity: str | None = None
    ) -> Source:
        """The upload, or a track of it. Raises NotReady or InvalidOption."""
        if track is None:
            return self._sources.upload(upload)
        if upload.sound is not None:
            raise InvalidOption(
                f"`source` is {track!r}, but {upload.filename!r} is an audio file and has no "
                "generated music. Leave out `source`."
            )
        return self._sources.track(upload, track, identity)


def _check_stems(variant: DemucsVariant, stems: list[str] | None) -> None:
    if stems and variant.stems:
        check_stems(stems, variant.stems)
