"""The variants of MusicGen: what each one is, and where its weights are stored."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.generation import parts
from studio.inference import hub
from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where

NON_COMMERCIAL = "CC-BY-NC-4.0 (not for commercial use)"


@dataclass(frozen=True)
class Release:
    """A published variant, and its parameters in millions (the text encoder and codec included)."""

    purpose: str
    parameters: int


RELEASES = {
    "small": Release("The usual choice on a CPU", 590),
    "medium": Release("Better, four times slower than small", 2010),
    "large": Release("The best; for a GPU", 3420),
    "melody": Release("As medium, and follows a melody", 1560),
    "melody-large": Release("As large, and follows a melody; for a GPU", 2620),
    "stereo-small": Release("small, in stereo", 610),
    "stereo-medium": Release("medium, in stereo", 2030),
    "stereo-large": Release("large, in stereo; for a GPU", 3450),
    "stereo-melody": Release("melody, in stereo", 1580),
    "stereo-melody-large": Release("melody-large, in stereo; for a GPU", 2650),
}


@dataclass(frozen=True, kw_only=True)
class MusicGenVariant(Variant):
    """A variant of MusicGen; `folder` is its directory, if it is on this machine.

    `words` are all words that it knows; None if it knows any.
    """

    takes_melody: bool = False
    words: tuple[str, ...] | None = None
    folder: Path | None = None

    def details(self) -> dict[str, Any]:
        return {
            "takes_melody": self.takes_melody,
            "words": None if self.words is None else list(self.words),
        }


class MusicGenCatalogue(Catalogue[MusicGenVariant]):
    """Finds variants: the bundled one, those in `MODEL_DIR/musicgen`, in the hub's cache."""

    title = "MusicGen"
    releases = RELEASES

    def __init__(self, bundled_dir: Path, local_dir: Path) -> None:
        self._bundled_dir = bundled_dir
        self.local_dir = local_dir

    def bundled(self) -> MusicGenVariant:
        purpose = "Small model made for this project: a closed vocabulary, for first runs"
        variant = _found(BUNDLED, purpose, Where.BUNDLED, MIT, self._bundled_dir)
        words = parts.closed_vocabulary(self._bundled_dir)
        return variant if words is None else replace(variant, words=tuple(words))

    def local_names(self) -> list[str]:
        folders = self.local_dir.iterdir() if self.local_dir.is_dir() else ()
        return sorted(path.name for path in folders if path.is_dir())

    def local(self, name: str) -> MusicGenVariant | None:
        folder = self.local_dir / name
        if not folder.is_dir():
            return None
        return _found(name, _purpose(name), Where.LOCAL, _licence(name), folder)

    def cached(self, name: str) -> MusicGenVariant | None:
        folder = _cached(name)
        if folder is None:
            return None
        return _found(name, _purpose(name), Where.DOWNLOADED, _licence(name), folder)

    def available(self, name: str) -> MusicGenVariant:
        return MusicGenVariant(
            name=name,
            purpose=_purpose(name),
            where=Where.AVAILABLE,
            licence=_licence(name),
            size_bytes=RELEASES[name].parameters * 4_000_000,
            takes_melody="melody" in name,
        )


def _purpose(name: str) -> str:
    return RELEASES[name].purpose if name in RELEASES else "Local model"


def _licence(name: str) -> str:
    return NON_COMMERCIAL if name in RELEASES else "yours"


def repository(name: str) -> str:
    """The hub's repository of a release."""
    return f"facebook/musicgen-{name}"


def _found(name: str, purpose: str, where: Where, licence: str, folder: Path) -> MusicGenVariant:
    missing = parts.missing(folder)
    weights = [path for path in parts.weight_files(folder) if path.is_file()]
    return MusicGenVariant(
        name=name,
        purpose=purpose,
        where=where,
        licence=licence,
        size_bytes=sum(path.stat().st_size for path in weights) if weights else None,
        files=(*weights, *parts.settings_files(folder)),
        damage=f"{folder.name}/ has no {', '.join(missing)}" if missing else None,
        takes_melody=parts.takes_melody(folder),
        folder=folder,
    )


def _cached(name: str) -> Path | None:
    """The directory of a release in the hub's cache, if all of it is there."""
    folder = hub.cached_folder(repository(name), parts.CONFIG)
    return folder if folder and not parts.missing(folder) else None
