"""Whisper as a model family: turns speech and songs into text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from studio.errors import InvalidOption
from studio.family import Family, JobContext
from studio.inference.engine_settings import EngineSettings
from studio.inference.transfer import OnTransfer
from studio.jobs.body import SOURCE_IDENTITIES
from studio.jobs.job import Report, part_of
from studio.results import Track
from studio.sources import Source, Sources
from studio.storage.uploads import Upload
from studio.transcription.alignment.lyrics import is_file_id, lyrics_in, match_units, read_lyrics
from studio.transcription.catalogue import WhisperCatalogue, WhisperVariant
from studio.transcription.engine import SpeechEngine, rehearse
from studio.transcription.languages import ENGLISH, check_language
from studio.transcription.options import TranscriptionOptions
from studio.transcription.result import (
    CONTENT_TYPES,
    TranscriptionResult,
    VocalsResult,
    transcript_track,
)

# Share of the work that separating takes, roughly, of a job that then transcribes the vocals.
SEPARATION_SHARE = 0.8
VOCALS = "vocals"
TEXT = "txt"


class Vocals(Protocol):
    """Separates the vocals of a song; `variant` is None for the default one."""

    def check(self, upload: Upload, variant: str | None) -> str:
        """The identity of the vocals that there are, or that would be separated now.

        It does not depend on the job that separates them. Raises UnknownVariant, UnknownStem where
        a variant has no vocals, or InvalidOption if the song is too long.
        """

    def find(self, upload: Upload, variant: str | None) -> tuple[str, Source] | None:
        """The vocals of an earlier job, and its id."""

    def fetch(self, variant: str | None, report: Report) -> None:
        """Download the weights of a variant if they are not on this machine."""

    def separate(
        self, upload: Upload, variant: str | None, context: JobContext[Any]
    ) -> tuple[VocalsResult, Path]:
        """Separate the vocals into `context.work`. Returns the result record and the file."""

    def tracks(self, separation: VocalsResult) -> Sequence[Track]:
        """The tracks of such a separation."""

    def joined(self, separation: VocalsResult) -> Track | None:
        """Its stems as one file."""


class Transcription(Family[TranscriptionOptions, SpeechEngine, TranscriptionResult]):
    """Transcribes an upload, or its vocals."""

    name = "whisper"
    options = TranscriptionOptions
    result = TranscriptionResult
    formats: ClassVar[Mapping[str, str]] = CONTENT_TYPES
    tracks_help = "transcription"
    loads_at_start = True

    def __init__(
        self,
        catalogue: WhisperCatalogue,
        settings: EngineSettings,
        sources: Sources,
        vocals: Vocals,
    ) -> None:
        self.catalogue: WhisperCatalogue = catalogue
        self._settings = settings
        self._sources = sources
        self._vocals = vocals

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None:
        from studio.transcription.load import fetch

        fetch(self.catalogue, variant, on_transfer)

    def load(self, variant: str) -> SpeechEngine:
        from studio.transcription.load import load

        return load(self.catalogue, variant, self._settings)

    def rehearse(self, model: SpeechEngine) -> None:
        rehearse(model)

    def remark(self, model: SpeechEngine) -> str | None:
        return model.note

    def device_note(self) -> str | None:
        from studio.transcription.load import device_note

        return device_note(self.catalogue.engine, self._settings.device)

    def work(
        self, model: SpeechEngine, upload: Upload, context: JobContext[TranscriptionOptions]
    ) -> TranscriptionResult:
        from studio.transcription.transcribe import transcribe

        check_language(context.options.language, model.languages)
        if context.options.source == "mixture":
            result = transcribe(model, self._sources.upload(upload), context)
            return result.model_copy(update={"source": "mixture"})
        source, extra, done = self._separated(upload, context)
        rest = context.with_options(context.options, part_of(context.report, done, 1.0))
        result = transcribe(model, source, rest)
        return result.model_copy(update={"source": VOCALS, **extra})

    def _separated(
        self, upload: Upload, context: JobContext[TranscriptionOptions]
    ) -> tuple[Source, dict[str, Any], float]:
        """The vocals, what the result says of them, and the progress so far."""
        assert upload.sound is not None
        variant = context.options.separation_variant
        duration_s = upload.sound.duration_s
        if earlier := self._vocals.find(upload, variant):
            job_id, source = earlier
            source = Source(source.file, duration_s, source.identity)
            return source, {"vocals_from": job_id}, 0.0

        self._vocals.fetch(variant, context.report)
        report = part_of(context.report, 0.0, SEPARATION_SHARE)
        part = context.with_options(context.options, report)
        separation, path = self._vocals.separate(upload, variant, part)
        extra = {"vocals_from": context.job_id, "separation": separation}
        return Source(path, duration_s, upload.sha256), extra, SEPARATION_SHARE

    def tracks(self, result: TranscriptionResult) -> list[Track]:
        separated = self._vocals.tracks(result.separation) if result.separation else ()
        return [transcript_track(), *separated]

    def joined(self, result: TranscriptionResult) -> Track | None:
        return self._vocals.joined(result.separation) if result.separation else None

    def engine(self, variant: WhisperVariant) -> str | None:
        return self.catalogue.engine

    def takes_text(self, path: Path) -> bool:
        # A prompt may begin with a line of options; nobody sings one.
        text = lyrics_in(path)
        return match_units(text) != "" and not text.lstrip().startswith("{")

    def settings(self) -> list[Any]:
        return [self.catalogue.engine, *self._settings.identity()]

    def check(
        self, upload: Upload, options: TranscriptionOptions, variant: WhisperVariant
    ) -> dict[str, Any]:
        check_language(options.language, variant.languages, f"the variant {variant.name!r}")
        if options.task != "transcribe" and not variant.translates:
            is_english = variant.languages == ENGLISH
            reason = "supports English only" if is_english else "does not translate"
            raise InvalidOption(
                f"`task` is {options.task!r}, but the variant {variant.name!r} {reason}. Leave out "
                "`task`, or use another variant, such as 'small'.",
                param="task",
            )
        kept: dict[str, Any] = {}
        if options.source == VOCALS:
            identity = self._vocals.check(upload, options.separation_variant)
            kept[SOURCE_IDENTITIES] = {VOCALS: identity}
        if options.lyrics is not None:
            kept["lyrics"] = self._lyrics(upload, options.lyrics)
        return kept

    def _lyrics(self, upload: Upload, given: str) -> str:
        """The text of `lyrics`, which may be the ID of a text file. Raises a StudioError."""
        text = given
        if is_file_id(given):
            other = self._sources.other(upload, "lyrics", given)
            if other.file_type != TEXT:
                raise InvalidOption(
                    f"`lyrics` is {given!r}, which is an audio file ({other.file_type}). Upload "
                    f"the text as a .{TEXT} file."
                )
            text = lyrics_in(self._sources.storage.source(other).path)
        read_lyrics(text)
        return text
