"""The variants of a model, and the location and identity of their weights."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from studio.errors import ModelUnusable, StudioError, UnknownVariant, WeightsMissing
from studio.inference.content_hash import content_hash
from studio.inference.devices import first_line
from studio.inference.reachable import any_reachable
from studio.inference.transfer import DownloadFailed

log = logging.getLogger(__name__)

BUNDLED = "mini"
MIT = "MIT"


def or_bundled(name: str) -> str:
    """The advice to use the bundled variant, unless it is the one that failed."""
    return "" if name == BUNDLED else f", or use the bundled variant {BUNDLED!r}"


def package_failure(name: str, error: BaseException) -> str | None:
    """What to do if a variant failed to load because of a package, not its weights; else None."""
    if isinstance(error, ImportError) or "shared object" in str(error):
        return (
            f"The variant {name!r} cannot be loaded, because a package is missing or damaged: "
            f"{error}. Install the requirements again."
        )
    return None


@contextmanager
def load_errors(name: str, remedy: str) -> Iterator[None]:
    """Raise ModelUnusable for errors of this block that are no StudioError.

    `remedy` is what to do if the weights are at fault.
    """
    try:
        yield
    except StudioError:
        raise
    # The demucs package exits if it lacks another package.
    except (Exception, SystemExit) as error:
        if failure := package_failure(name, error):
            raise ModelUnusable(failure) from error
        log.warning("the variant %s cannot be loaded", name, exc_info=error)
        cause = f"{type(error).__name__}: {first_line(error)}"
        sentence = f"The weights of {name!r} cannot be loaded: {cause}. {remedy}"
        raise ModelUnusable(sentence) from error


@contextmanager
def download_errors(name: str, hosts: list[str], files: Sequence[str], put: str) -> Iterator[None]:
    """Raise WeightsMissing if no host responds or if a download in this block fails.

    `files` are what is missing; `put` says where to put it by hand.
    """
    try:
        if not any_reachable(hosts):
            raise DownloadFailed("no network")
        yield
    except DownloadFailed as error:
        raise WeightsMissing(
            f"The weights of {name!r} are not on this machine and cannot be downloaded: {error}. "
            f"{put}{or_bundled(name)}.",
            missing=list(files),
            variant=name,
            reason=str(error),
        ) from error


class Where(StrEnum):
    """The location of weights: bundled, added by the operator, in a cache, or to download."""

    BUNDLED = "bundled"
    LOCAL = "local"
    DOWNLOADED = "downloaded"
    AVAILABLE = "available"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant, on this machine or available for download.

    `files` are its weights and everything else that affects its results; empty if they are not on
    this machine. `damage` says why they cannot be loaded, if so.
    """

    name: str
    purpose: str
    where: Where
    licence: str
    size_bytes: int | None = None
    files: tuple[Path, ...] = ()
    damage: str | None = None

    def fingerprint(self) -> list[str]:
        """Hashes of its files; equal on machines with the same weights."""
        return [content_hash(path) for path in self.files if path.is_file()]

    def details(self) -> dict[str, Any]:
        """Additional fields for `GET /models`."""
        return {}


VariantT = TypeVar("VariantT", bound=Variant)


class Catalogue(ABC, Generic[VariantT]):
    """Finds the variants of one model: bundled, local, downloaded, or available.

    `title` is the name of the model in messages; `releases` are the published variants.
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
        """The variant `name`, which must exist."""
        if name == BUNDLED:
            return self.bundled()
        return self.local(name) or self.cached(name) or self.available(name)

    @abstractmethod
    def bundled(self) -> VariantT:
        """The bundled variant."""

    def local_names(self) -> list[str]:
        """The names of the variants in `MODEL_DIR`."""
        return []

    def local(self, name: str) -> VariantT | None:
        """A variant in `MODEL_DIR`."""
        return None

    def cached(self, name: str) -> VariantT | None:
        """A downloaded variant, if all of its files are in the cache."""
        return None

    def available(self, name: str) -> VariantT:
        """A release that would be downloaded."""
        raise LookupError(name)
