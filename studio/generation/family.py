"""MusicGen as a model family: generates music from a description."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from studio.errors import InvalidOption
from studio.family import Family, JobContext
from studio.generation.catalogue import MusicGenCatalogue, MusicGenVariant
from studio.generation.load import expected
from studio.generation.model import MusicModel
from studio.generation.options import GenerationOptions
from studio.generation.prompt import read_prompt
from studio.generation.result import TRACK, GenerationResult, tracks_of
from studio.inference.engine_settings import EngineSettings
from studio.inference.transfer import OnTransfer
from studio.results import SOUND_FORMATS, Track
from studio.sources import Source, Sources
from studio.storage.files import StoredFile, Upload


class Generation(Family[GenerationOptions, MusicModel, GenerationResult]):
    """Generates music from an uploaded prompt, and from the audio files in its options."""

    name = "musicgen"
    options = GenerationOptions
    result = GenerationResult
    formats: ClassVar[Mapping[str, str]] = SOUND_FORMATS
    tracks_help = "music, music_2"
    references = frozenset({"continue_from", "melody_from"})

    def __init__(
        self, catalogue: MusicGenCatalogue, settings: EngineSettings, sources: Sources
    ) -> None:
        self.catalogue: MusicGenCatalogue = catalogue
        self._settings = settings
        self._sources = sources

    def fetch(self, variant: str, on_transfer: OnTransfer) -> None:
        from studio.generation.load import fetch

        fetch(self.catalogue, variant, on_transfer)

    def load(self, variant: str) -> MusicModel:
        from studio.generation.load import load

        return load(self.catalogue, variant, self._settings)

    def device_note(self) -> str | None:
        return self._settings.device_note()

    def work(
        self, model: MusicModel, upload: Upload, context: JobContext[GenerationOptions]
    ) -> GenerationResult:
        from studio.generation.generate import Prompt, generate

        text = read_prompt(self._sources.storage.source(upload).path).text
        return generate(model, Prompt(text, *self._sounds(upload, context.options)), context)

    def tracks(self, result: GenerationResult) -> list[Track]:
        return tracks_of(result)

    def engine(self, variant: MusicGenVariant) -> str | None:
        return expected(self._settings)

    def settings(self) -> list[Any]:
        return self._settings.identity()

    def takes_text(self, path: Path) -> bool:
        read_prompt(path)
        return True

    def options_in(self, file: StoredFile) -> dict[str, Any]:
        return read_prompt(file.path).options

    def check(
        self, upload: Upload, options: GenerationOptions, variant: MusicGenVariant
    ) -> dict[str, Any]:
        if options.melody_from and not variant.takes_melody:
            raise InvalidOption(
                f"The variant {variant.name!r} cannot follow a melody. Leave out `melody_from`, or "
                "use a melody variant."
            )
        return {"seed": secrets.randbelow(2**32)} if options.seed is None else {}

    def identity(self, upload: Upload, options: GenerationOptions) -> list[Any]:
        sounds = self._sounds(upload, options)
        return [upload.sha256, [sound.identity if sound else None for sound in sounds]]

    def _sounds(self, upload: Upload, options: GenerationOptions) -> list[Source | None]:
        """The audio for `continue_from` and `melody_from`. Raises InvalidOption or NotReady."""
        named = {"continue_from": options.continue_from, "melody_from": options.melody_from}
        return [
            self._sound(upload, option, file_id) if file_id else None
            for option, file_id in named.items()
        ]

    def _sound(self, upload: Upload, option: str, file_id: str) -> Source:
        """The audio of another file that an option refers to."""
        other = self._sources.other(upload, option, file_id)
        if other.sound is None:
            return self._sources.track(other, TRACK)
        return self._sources.upload(other)
