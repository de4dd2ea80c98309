"""The variants of Demucs: what each one is, and where its weights are stored."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from studio.errors import UnknownVariant
from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where
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


@dataclass(frozen=True, kw_only=True)
class DemucsVariant(Variant):
    """A variant of Demucs: `files` has a weights file for each network of its bag.

    `missing` names files that its bag needs and that do not exist; `weights` and `segment_s` are
    the bag's own. `stems` and `is_transformer` (all its networks are HTDemucs) are None if they are
    known only once the networks are loaded.
    """

    stems: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    weights: list[list[float]] | None = None
    segment_s: float | None = None
    needs_diffq: bool = False
    is_transformer: bool | None = None

    def details(self) -> dict[str, Any]:
        return {"stems": list(self.stems) if self.stems else None}


class DemucsCatalogue(Catalogue[DemucsVariant]):
    """Finds variants: the bundled one, those in `MODEL_DIR/demucs`, in the caches, on the hub.

    `checkpoints` is PyTorch's download folder; None: it is not searched. `hub_access` says which
    variants `hf://...` may be used.
    """

    title = "Demucs"
    releases = RELEASES

    def __init__(
        self,
        bundled_dir: Path,
        local_dir: Path,
        checkpoints: Path | None = None,
        hub_access: hub.HubAccess | None = None,
    ) -> None:
        self._bundled_dir = bundled_dir
        self._local_dir = local_dir
        self.checkpoints = checkpoints
        self.hub = hub_access or hub.HubAccess()

    @property
    def local_dir(self) -> Path:
        return self._local_dir

    def local_names(self) -> list[str]:
        return [path.stem for path in self._local_bags()]

    def check(self, name: str) -> DemucsVariant:
        if hub.is_hub_name(name) and name not in self.names():
            self._check_repository(name)
            return self.find(name)
        if name not in self.names():
            raise UnknownVariant(
                f"Demucs has no variant {name!r}. Available: {', '.join(self.names())}, and "
                f"{hub.HUB_PREFIX}NAMESPACE/NAME."
            )
        return self.find(name)

    def _check_repository(self, name: str) -> None:
        """Raise UnknownVariant when a variant of the hub is not among HUB_REPOSITORIES."""
        if self.hub.allows(name):
            return
        allowed = ", ".join(sorted(self.hub.repositories or ())) or "none"
        raise UnknownVariant(
            f"{name!r} is in the hub repository {hub.hub_repository(name)[0]!r}, which is not in "
            f"the HUB_REPOSITORIES of this server ({allowed}). Use a variant listed by GET /models."
        )

    def local(self, name: str) -> DemucsVariant | None:
        bag_file = next((path for path in self._local_bags() if path.stem == name), None)
        return self._local(name, bag_file) if bag_file else None

    def cached(self, name: str) -> DemucsVariant | None:
        variant = self.available(name)
        return self._hub_files(variant) or _checkpoint_files(variant, self.checkpoints)

    def available(self, name: str) -> DemucsVariant:
        release = RELEASES.get(name)
        if release is None:
            return DemucsVariant(
                name=name,
                purpose="A model of the Hugging Face hub",
                where=Where.AVAILABLE,
                licence="see the model's page",
            )
        return DemucsVariant(
            name=name,
            purpose=release.purpose,
            where=Where.AVAILABLE,
            licence=MIT,
            size_bytes=release.size_bytes,
            stems=release.stems,
            needs_diffq=release.needs_diffq,
            is_transformer=release.is_transformer,
        )

    def _local_bags(self) -> Iterator[Path]:
        if self._local_dir.is_dir():
            yield from sorted(self._local_dir.glob("*.yaml"))

    def bundled(self) -> DemucsVariant:
        path = self._bundled_dir / "model.safetensors"
        exists = path.is_file()
        return DemucsVariant(
            name=BUNDLED,
            purpose="Small model made for this project: first run, tests, development",
            where=Where.BUNDLED,
            licence=MIT,
            size_bytes=path.stat().st_size if exists else None,
            files=(path,),
            damage=None if exists else f"{path} is missing; install the server again",
            stems=_stems_of(path) if exists else None,
            is_transformer=True,
        )

    def _local(self, name: str, bag_file: Path) -> DemucsVariant:
        release = RELEASES.get(name)
        damage = None
        try:
            bag = read_bag(bag_file)
        except ValueError as error:
            bag, damage = {"models": []}, str(error)
        paths = [(signature, self._local_weights(signature)) for signature in bag["models"]]
        files = tuple(path for _, path in paths if path)
        stems = next((s for s in map(_stems_of, files) if s), release.stems if release else None)
        return DemucsVariant(
            name=name,
            purpose=release.purpose if release else "Local model",
            where=Where.LOCAL,
            licence=MIT if release else "yours",
            size_bytes=sum(path.stat().st_size for path in files),
            files=files,
            damage=damage,
            stems=stems,
            missing=tuple(f"{one}.safetensors" for one, path in paths if not path),
            weights=bag.get("weights"),
            segment_s=bag.get("segment"),
            needs_diffq=bool(release and release.needs_diffq),
            is_transformer=_all_transformers(files, release.is_transformer if release else None),
        )

    def _local_weights(self, signature: str) -> Path | None:
        exact = self._local_dir / f"{signature}.safetensors"
        if exact.is_file():
            return exact
        pickled = [self._local_dir / f"{signature}.th", *self._local_dir.glob(f"{signature}-*.th")]
        return next((path for path in pickled if path.is_file()), None)

    def _hub_files(self, variant: DemucsVariant) -> DemucsVariant | None:
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

    Raises ValueError if the file is not a bag, and OutOfBounds if it names too much.
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

    Raises ValueError if the file is not a safetensors file.
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
    """The stems named in a weights file. None: known only once loaded."""
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
    """Whether all networks are HTDemucs; `otherwise` if the files do not say."""
    try:
        kinds = {str(_metadata(path).get("klass")).rpartition(".")[2] for path in files}
    except ValueError:
        return otherwise
    return otherwise if "None" in kinds else kinds == {"HTDemucs"}


def _metadata(path: Path) -> dict[str, Any]:
    return safetensors_metadata(path) if path.suffix == ".safetensors" else {}


def _read_cached_bag(path: Path) -> dict[str, Any] | None:
    """None if the cached file is not a bag; the next download reports why.

    Raises OutOfBounds.
    """
    try:
        return read_bag(path)
    except limits.OutOfBounds:
        raise
    except ValueError:
        return None


def _checkpoint_files(variant: DemucsVariant, folder: Path | None) -> DemucsVariant | None:
    """The variant with its files from PyTorch's cache of downloads, if all are there."""
    if variant.name not in RELEASES or folder is None or not folder.is_dir():
        return None
    bag = read_bag(hub.release_bag(variant.name))
    files = [next(folder.glob(f"{signature}-*.th"), None) for signature in bag["models"]]
    return _with_files(variant, files, bag)


def _with_files(
    variant: DemucsVariant, paths: Sequence[Path | None], bag: dict[str, Any]
) -> DemucsVariant | None:
    files = tuple(path for path in paths if path is not None)
    if len(files) < len(paths):
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
