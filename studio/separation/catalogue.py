"""The variants of Demucs: what each one is, and where its weights lie."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from studio.inference.variants import BUNDLED, MIT, Where
from studio.separation import hub, limits

# The header of htdemucs has 0.05 MB. Parsed JSON takes many times its size.
MAX_HEADER_BYTES = 4 << 20

FOUR = ("drums", "bass", "other", "vocals")
SIX = (*FOUR, "guitar", "piano")


@dataclass(frozen=True)
class Release:
    """A published variant. Sizes are those of its weights as published, in bytes, where known."""

    purpose: str
    stems: tuple[str, ...] = FOUR
    size_bytes: int | None = None
    needs_diffq: bool = False
    is_transformer: bool = False


RELEASES = {
    "htdemucs": Release(
        "Hybrid Transformer Demucs; the usual choice", size_bytes=84_030_352, is_transformer=True
    ),
    "htdemucs_ft": Release(
        "Four htdemucs, each fine-tuned for one stem; better, four times slower",
        size_bytes=336_124_640,
        is_transformer=True,
    ),
    "htdemucs_6s": Release(
        "With guitar and piano as extra stems", SIX, 54_890_576, is_transformer=True
    ),
    "hdemucs_mmi": Release("Hybrid Demucs v3, retrained", size_bytes=167_321_096),
    "mdx": Release("Bag of four, MDX challenge 2021, track A", size_bytes=691_079_080),
    "mdx_extra": Release("Bag of four, trained with extra data", size_bytes=669_284_384),
    "mdx_q": Release("mdx, quantised", needs_diffq=True),
    "mdx_extra_q": Release("mdx_extra, quantised", needs_diffq=True),
}


@dataclass(frozen=True)
class Variant:
    """A variant as found on this machine.

    `files` are its weights where they are already here, one for each network of the bag;
    `missing` names files that its bag needs and that are not there; `weights` and `segment_s` are
    the bag's own. `damage` says why its bag cannot be read. `is_transformer` (all its networks are
    HTDemucs) is None where only loading them would tell.
    """

    name: str
    purpose: str
    where: Where
    stems: tuple[str, ...] | None
    licence: str
    size_bytes: int | None
    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()
    weights: list[list[float]] | None = None
    segment_s: float | None = None
    needs_diffq: bool = False
    damage: str | None = None
    is_transformer: bool | None = None


class Catalogue:
    """Finds variants: the bundled one, those in `MODEL_DIR/demucs`, in the caches, on the hub.

    `checkpoints` is the folder of PyTorch's downloads, if that is looked into. `hub_access` says
    which variants `hf://...` may be used.
    """

    def __init__(
        self,
        bundled_dir: Path,
        local_dir: Path,
        checkpoints: Path | None = None,
        hub_access: hub.HubAccess | None = None,
    ) -> None:
        self._bundled_dir = bundled_dir
        self._local_dir = local_dir
        self._checkpoints = checkpoints
        self.hub = hub_access or hub.HubAccess()

    @property
    def local_dir(self) -> Path:
        return self._local_dir

    def names(self) -> list[str]:
        local = sorted(path.stem for path in self._local_bags())
        return list(dict.fromkeys([BUNDLED, *RELEASES, *local]))

    def knows(self, name: str) -> bool:
        return name in self.names() or (hub.is_hub_name(name) and self.hub.allows(name))

    def find(self, name: str) -> Variant:
        """The variant `name`, which must be known."""
        if name == BUNDLED:
            return self._bundled()
        release = RELEASES.get(name)
        for bag_file in self._local_bags():
            if bag_file.stem == name:
                return self._local(name, bag_file, release)
        stems = release.stems if release else None
        purpose = release.purpose if release else "A model of the Hugging Face hub"
        found = Variant(
            name,
            purpose,
            Where.AVAILABLE,
            stems,
            MIT if release else "see the model's page",
            release.size_bytes if release else None,
            needs_diffq=bool(release and release.needs_diffq),
            is_transformer=release.is_transformer if release else None,
        )
        return self._hub_files(found) or _checkpoint_files(found, self._checkpoints) or found

    def _local_bags(self) -> Iterator[Path]:
        if self._local_dir.is_dir():
            yield from sorted(self._local_dir.glob("*.yaml"))

    def _bundled(self) -> Variant:
        path = self._bundled_dir / "model.safetensors"
        is_there = path.is_file()
        return Variant(
            BUNDLED,
            "Small model made for this project: first run, tests, development",
            Where.BUNDLED,
            _stems_of(path) if is_there else None,
            MIT,
            path.stat().st_size if is_there else None,
            (path,),
            damage=None if is_there else f"{path} is missing; install the server again",
            is_transformer=True,
        )

    def _local(self, name: str, bag_file: Path, release: Release | None) -> Variant:
        damage = None
        try:
            bag = read_bag(bag_file)
        except ValueError as error:
            bag, damage = {"models": []}, str(error)
        files: list[Path] = []
        missing: list[str] = []
        for signature in bag["models"]:
            if path := self._local_weights(signature):
                files.append(path)
            else:
                missing.append(f"{signature}.safetensors")
        stems = next((s for s in map(_stems_of, files) if s), release.stems if release else None)
        return Variant(
            name,
            release.purpose if release else "Local model",
            Where.LOCAL,
            stems,
            MIT if release else "yours",
            sum(path.stat().st_size for path in files),
            tuple(files),
            tuple(missing),
            bag.get("weights"),
            bag.get("segment"),
            bool(release and release.needs_diffq),
            damage,
            _all_transformers(files, release.is_transformer if release else None),
        )

    def _local_weights(self, signature: str) -> Path | None:
        exact = self._local_dir / f"{signature}.safetensors"
        if exact.is_file():
            return exact
        pickled = [self._local_dir / f"{signature}.th", *self._local_dir.glob(f"{signature}-*.th")]
        return next((path for path in pickled if path.is_file()), None)

    def _hub_files(self, variant: Variant) -> Variant | None:
        """The variant with its files from the hub's cache, if all are there."""
        repository, bag_name = hub.hub_repository(variant.name)
        bag_path = self.hub.cached_file(repository, f"{bag_name}.yaml")
        try:
            bag = _read_cached_bag(bag_path) if bag_path else None
        except limits.OutOfBounds as error:
            return replace(variant, where=Where.DOWNLOADED, damage=str(error))
        if bag is None:
            return None
        files = [self.hub.cached_file(repository, f"{name}.safetensors") for name in bag["models"]]
        return _with_files(variant, files, bag)


def read_bag(path: Path) -> dict[str, Any]:
    """A bag's definition: `models` (signatures), and maybe `weights` and `segment`.

    Raises ValueError where it is none, and OutOfBounds where it names too much.
    """
    if path.stat().st_size > limits.MAX_BAG_BYTES:
        raise limits.OutOfBounds(f"{path.name} has more than {limits.MAX_BAG_BYTES:,} bytes")
    try:
        bag = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{path.name} is not YAML") from None
    models = bag.get("models") if isinstance(bag, dict) else None
    if not isinstance(models, list) or not models or not all(isinstance(m, str) for m in models):
        raise ValueError(f"{path.name} is not a bag: it needs a list `models` of names")
    assert isinstance(bag, dict)
    limits.check_bag(bag, path.name)
    return bag


def safetensors_metadata(path: Path) -> dict[str, Any]:
    """The metadata in the header of a safetensors file, without loading its tensors.

    Raises ValueError where the file is none.
    """
    with open(path, "rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(header_bytes, MAX_HEADER_BYTES)))
        except (ValueError, RecursionError):
            header = None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError(f"{path.name} is not a safetensors file, or is cut off")
    return metadata


def _stems_of(path: Path) -> tuple[str, ...] | None:
    """Stems named in a weights file; None where only loading it would tell, or fail."""
    try:
        metadata = _metadata(path)
        arguments = json.loads(metadata.get("args", "[]"))
        sources = json.loads(metadata.get("kwargs", "{}")).get("sources") or (
            arguments[0] if arguments else None
        )
        return tuple(sources) if sources else None
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def _all_transformers(files: Sequence[Path], otherwise: bool | None) -> bool | None:
    """Whether all networks are HTDemucs; `otherwise` where the files do not tell."""
    try:
        kinds = {str(_metadata(path).get("klass")).rpartition(".")[2] for path in files}
    except ValueError:
        return otherwise
    return otherwise if "None" in kinds else kinds == {"HTDemucs"}


def _metadata(path: Path) -> dict[str, Any]:
    return safetensors_metadata(path) if path.suffix == ".safetensors" else {}


def _read_cached_bag(path: Path) -> dict[str, Any] | None:
    """None where the cache holds something else; fetching it again will tell.

    Raises OutOfBounds.
    """
    try:
        return read_bag(path)
    except limits.OutOfBounds:
        raise
    except ValueError:
        return None


def _checkpoint_files(variant: Variant, folder: Path | None) -> Variant | None:
    """The variant with its files from PyTorch's cache of downloads, if all are there."""
    if variant.name not in RELEASES or folder is None or not folder.is_dir():
        return None
    bag = read_bag(hub.release_bag(variant.name))
    files = [next(folder.glob(f"{signature}-*.th"), None) for signature in bag["models"]]
    return _with_files(variant, files, bag)


def _with_files(
    variant: Variant, found: Sequence[Path | None], bag: dict[str, Any]
) -> Variant | None:
    files = tuple(path for path in found if path is not None)
    if len(files) < len(found):
        return None
    return replace(
        variant,
        where=Where.DOWNLOADED,
        stems=next(filter(None, map(_stems_of, files)), variant.stems),
        size_bytes=sum(path.stat().st_size for path in files),
        files=files,
        weights=bag.get("weights"),
        segment_s=bag.get("segment"),
        is_transformer=_all_transformers(files, variant.is_transformer),
    )
