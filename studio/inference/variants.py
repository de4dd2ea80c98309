"""The variants of a model: where their weights are, and which weights they are."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from studio.errors import UnknownVariant
from studio.inference.content_hash import content_hash

BUNDLED = "mini"
MIT = "MIT"


def or_bundled(name: str) -> str:
    """Advice for when a variant does not work, unless it is the bundled one itself."""
    return "" if name == BUNDLED else f", or use the bundled variant {BUNDLED!r}"


class Where(StrEnum):
    """Where a variant's weights are: shipped, put there by hand, in a cache, or to be fetched."""

    BUNDLED = "bundled"
    LOCAL = "local"
    DOWNLOADED = "downloaded"
    AVAILABLE = "available"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant as found on this machine.

    `files` are its weights and whatever else shapes its results; empty where they are not on this
    machine. `damage` says why they cannot be loaded.
    """

    name: str
    purpose: str
    where: Where
    licence: str
    size_bytes: int | None = None
    files: tuple[Path, ...] = ()
    damage: str | None = None

    def fingerprint(self) -> list[str]:
        """Hashes of its files: equal on two machines that have the same weights."""
        return [content_hash(path) for path in self.files if path.is_file()]

    def details(self) -> dict[str, Any]:
        """What `GET /models` says of it beyond what all variants have."""
        return {}


VariantT = TypeVar("VariantT", bound=Variant)


class Catalogue(ABC, Generic[VariantT]):
    """Finds the variants of one model: bundled, local, in a cache of downloads, or available.

    `title` is the model's name in sentences, `releases` are the published variants.
    """

    title: ClassVar[str]
    releases: ClassVar[Collection[str]] = ()

    def names(self) -> list[str]:
        return list(dict.fromkeys([BUNDLED, *self.releases, *self.local_names()]))

    def check(self, name: str) -> VariantT:
        """The variant `name`. Raises UnknownVariant."""
        if name not in self.names():
            raise UnknownVariant(
                f"{self.title} has no variant {name!r}. Available: {', '.join(self.names())}."
            )
        return self.find(name)

    def find(self, name: str) -> VariantT:
        """The variant `name`, which must be known."""
        if name == BUNDLED:
            return self.bundled()
        return self.local(name) or self.cached(name) or self.available(name)

    @abstractmethod
    def bundled(self) -> VariantT:
        """The variant that is shipped with the server."""

    def local_names(self) -> list[str]:
        """Names of the variants in `MODEL_DIR`."""
        return []

    def local(self, name: str) -> VariantT | None:
        """A variant in `MODEL_DIR`."""
        return None

    def cached(self, name: str) -> VariantT | None:
        """A variant in a cache of downloads, if all of its files are there."""
        return None

    def available(self, name: str) -> VariantT:
        """A release that would be downloaded."""
        raise LookupError(name)
