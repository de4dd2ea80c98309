"""MusicGen as a model family: generates music from a description."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from studio.errors import InvalidOption
from studio.family import Family, JobContext
from studio.generation.catalogue import MusicGenCatalogue, MusicGenVariant
from studio.generation.model import MusicModel
from studio.generation.options import GenerationOptions
from studio.generation.prompt import read_prompt
from studio.generation.result import TRACK, GenerationResult, tracks_of
from studio.inference.engine_choice import expected_engine
from studio.inference.engine_settings import EngineSettings
from studio.inference.transfer import OnTransfer
from studio.jobs.body import SOURCE_IDENTITIES
from studio.results import SOUND_FORMATS, Track
from studio.sources import Source, Sources
from studio.storage.results import StoredFile
from studio.storage.uploads import Upload


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
        sounds = self._sounds(upload, context.options, context.source_identities)
        prompt = Prompt(text, sounds.get("continue_from"), sounds.get("melody_from"))
        return generate(model, prompt, context)

    def tracks(self, result: GenerationResult) -> list[Track]:
        return tracks_of(result)

    def engine(self, variant: MusicGenVariant) -> str | None:
        return expected_engine(self._settings, suits_openvino=True)

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
        kept: dict[str, Any] = {}
        if options.seed is None:
            kept["seed"] = secrets.randbelow(2**32)
        if sounds := self._sounds(upload, options, {}):
            kept[SOURCE_IDENTITIES] = {option: sound.identity for option, sound in sounds.items()}
        return kept

    def _sounds(
        self, upload: Upload, options: GenerationOptions, identities: Mapping[str, str]
    ) -> dict[str, Source]:
        """The audio of `continue_from` and `melody_from`, by option.

        `identities` are those that it had when the job was requested. Raises InvalidOption or
        NotReady.
        """
        named = {"continue_from": options.continue_from, "melody_from": options.melody_from}
        return {
            option: self._sound(upload, option, file_id, identities.get(option))
            for option, file_id in named.items()
            if file_id is not None
        }

    def _sound(self, upload: Upload, option: str, file_id: str, identity: str | None) -> Source:
        """The audio of another file that an option refers to."""
        other = self._sources.other(upload, option, file_id)
        if other.sound is None:
            return self._sources.track(other, TRACK, identity)
        return self._sources.upload(other)
