"""The variants of MusicGen: what each one is, and where its weights lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import InvalidOption, UnknownVariant
from studio.generation import parts
from studio.generation.options import GenerationOptions
from studio.inference.variants import BUNDLED, MIT, Where

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


@dataclass(frozen=True)
class Variant:
    """A variant as found on this machine; `folder` is its directory, if it is here.

    `damage` says why what is here cannot be loaded.
    """

    name: str
    purpose: str
    where: Where
    size_bytes: int | None
    licence: str
    takes_melody: bool
    folder: Path | None = None
    damage: str | None = None

    @property
    def identity(self) -> list[str]:
        """Changes with the weights."""
        files = parts.weight_files(self.folder) if self.folder else []
        return [f"{path} {path.stat().st_mtime_ns}" for path in files if path.is_file()]


class Catalogue:
    """Finds variants: the bundled one, those in `MODEL_DIR/musicgen`, in the hub's cache."""

    def __init__(self, bundled_dir: Path, local_dir: Path) -> None:
        self._bundled_dir = bundled_dir
        self.local_dir = local_dir

    def names(self) -> list[str]:
        there = self.local_dir.iterdir() if self.local_dir.is_dir() else ()
        local = sorted(path.name for path in there if path.is_dir())
        return list(dict.fromkeys([BUNDLED, *RELEASES, *local]))

    def describe(self, engine: str) -> dict[str, Any]:
        """All variants, for `GET /models`; `engine` is what they run on."""
        found = {name: self.find(name) for name in self.names()}
        return {
            name: {
                "purpose": variant.purpose,
                "weights": variant.where,
                "engine": engine,
                "size_bytes": variant.size_bytes,
                "licence": variant.licence,
            }
            for name, variant in found.items()
        }

    def check(self, name: str, options: GenerationOptions) -> Variant:
        """A variant that suits the options. Raises UnknownVariant or InvalidOption."""
        if name not in self.names():
            raise UnknownVariant(
                f"MusicGen has no variant {name!r}; it has {', '.join(self.names())}."
            )
        found = self.find(name)
        if options.melody_from and not found.takes_melody:
            raise InvalidOption(
                f"The variant {name!r} does not follow melodies: leave `melody_from` out, or use a "
                "melody variant."
            )
        return found

    def find(self, name: str) -> Variant:
        """The variant `name`, which must be one of `names`."""
        if name == BUNDLED:
            purpose = "Small model made for this project: a closed vocabulary, for first runs"
            return _found(name, purpose, Where.BUNDLED, MIT, self._bundled_dir)
        release = RELEASES.get(name)
        purpose = release.purpose if release else "Local model"
        licence = NON_COMMERCIAL if release else "yours"
        local = self.local_dir / name
        if local.is_dir():
            return _found(name, purpose, Where.LOCAL, licence, local)
        if (cached := _cached(name)) is not None:
            return _found(name, purpose, Where.DOWNLOADED, licence, cached)
        assert release is not None
        size_bytes = release.parameters * 4_000_000
        return Variant(name, purpose, Where.AVAILABLE, size_bytes, licence, "melody" in name)


def repository(name: str) -> str:
    """The hub's repository of a release."""
    return f"facebook/musicgen-{name}"


def _found(name: str, purpose: str, where: Where, licence: str, folder: Path) -> Variant:
    absent = parts.missing(folder)
    there = [path for path in parts.weight_files(folder) if path.is_file()]
    return Variant(
        name,
        purpose,
        where,
        sum(path.stat().st_size for path in there) if there else None,
        licence,
        parts.takes_melody(folder),
        folder,
        f"{folder.name}/ has no {', '.join(absent)}" if absent else None,
    )


def _cached(name: str) -> Path | None:
    """The directory of a release in the hub's cache, if all of it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository(name), parts.CONFIG)
    if not isinstance(found, str) or parts.missing(Path(found).parent):
        return None
    return Path(found).parent
