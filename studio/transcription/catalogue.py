"""The variants of Whisper: what each one is, and where its weights lie for an engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.inference.variants import BUNDLED, MIT, Where

FASTER_WHISPER = "faster-whisper"
OPENAI_WHISPER = "openai-whisper"
ENGINES = (FASTER_WHISPER, OPENAI_WHISPER)
# Without these, faster-whisper would look for them on the network.
DIRECTORY_FILES = ("model.bin", "config.json", "tokenizer.json")

# Parameters in millions, from the model card of openai-whisper; two bytes each are downloaded.
_PARAMETERS = {
    "tiny": 39, "tiny.en": 39, "base": 74, "base.en": 74, "small": 244, "small.en": 244,
    "medium": 769, "medium.en": 769, "large-v3": 1550, "large": 1550, "turbo": 809,
}  # fmt: skip
_FULL_NAMES = {"turbo": "large-v3-turbo", "large": "large-v3"}
RELEASES = tuple(_PARAMETERS)
_PURPOSES = {
    "tiny": "The smallest and fastest",
    "base": "The usual choice on a CPU",
    "small": "Better, three times slower than base",
    "medium": "Good, slow on a CPU",
    "large-v3": "The best; for a GPU",
    "large": "The newest large one: large-v3",
    "turbo": "Nearly as good as large-v3, much faster; does not translate",
}


@dataclass(frozen=True)
class Variant:
    """A variant as found on this machine; `path` is its directory or checkpoint, if it is here.

    `damage` says why what is here cannot be loaded.
    """

    name: str
    purpose: str
    where: Where
    size_bytes: int | None
    licence: str
    path: Path | None = None
    damage: str | None = None

    @property
    def is_english_only(self) -> bool:
        return self.name == BUNDLED or self.name.endswith(".en")


class _Store(Protocol):
    """Where the weights of one engine lie."""

    def local_names(self, folder: Path) -> list[str]: ...

    def path(self, folder: Path, name: str) -> Path: ...

    def damage(self, path: Path) -> str | None: ...

    def cached(self, name: str) -> Path | None: ...


class _Directories:
    """CTranslate2 directories, and the hub's cache."""

    def local_names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    def path(self, folder: Path, name: str) -> Path:
        return folder / name

    def damage(self, path: Path) -> str | None:
        absent = [name for name in DIRECTORY_FILES if not (path / name).is_file()]
        absent += [] if any(path.glob("vocabulary.*")) else ["vocabulary.json"]
        return f"{path.name}/ has no {', '.join(absent)}" if absent else None

    def cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repository(name), "model.bin")
        if not isinstance(found, str) or self.damage(Path(found).parent):
            return None
        return Path(found).parent


class _Checkpoints:
    """Checkpoints of openai-whisper, and its cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def local_names(self, folder: Path) -> list[str]:
        return sorted(path.stem for path in folder.glob("*.pt"))

    def path(self, folder: Path, name: str) -> Path:
        return folder / f"{name}.pt"

    def damage(self, path: Path) -> str | None:
        return None

    def cached(self, name: str) -> Path | None:
        path = self._cache / f"{_FULL_NAMES.get(name, name)}.pt"
        return path if path.is_file() else None


class Catalogue:
    """Finds variants for an engine: the bundled one, those in `MODEL_DIR/whisper`, the caches.

    `cache` is the folder of openai-whisper's downloads.
    """

    def __init__(self, bundled_dir: Path, local_dir: Path, cache: Path, engine: str) -> None:
        self.engine = engine
        self.local_dir = local_dir
        is_faster = engine == FASTER_WHISPER
        self._bundled_path = bundled_dir / ("ctranslate2" if is_faster else "model.pt")
        self._store: _Store = _Directories() if is_faster else _Checkpoints(cache)
        self.cache = cache

    def names(self) -> list[str]:
        local = self._store.local_names(self.local_dir) if self.local_dir.is_dir() else []
        return list(dict.fromkeys([BUNDLED, *RELEASES, *local]))

    def find(self, name: str) -> Variant:
        """The variant `name`, which must be one of `names`."""
        if name == BUNDLED:
            return self._bundled()
        purpose = _PURPOSES.get(name.removesuffix(".en"), "Local model")
        purpose += ", English only" if name.endswith(".en") else ""
        local = self._store.path(self.local_dir, name)
        if local.exists():
            licence = MIT if name in RELEASES else "yours"
            damage = self._store.damage(local)
            return Variant(name, purpose, Where.LOCAL, _size(local), licence, local, damage)
        cached = self._store.cached(name)
        if cached is not None:
            return Variant(name, purpose, Where.DOWNLOADED, _size(cached), MIT, cached)
        return Variant(name, purpose, Where.AVAILABLE, _PARAMETERS[name] * 2_000_000, MIT)

    def wanted_path(self, name: str) -> Path:
        """Where the weights of a variant can be put by hand."""
        return self._store.path(self.local_dir, name)

    def _bundled(self) -> Variant:
        path = self._bundled_path
        is_there = path.exists()
        return Variant(
            BUNDLED,
            "Small English model made for this project: a closed vocabulary, for first runs",
            Where.BUNDLED,
            _size(path) if is_there else None,
            MIT,
            path,
            None if is_there else f"{path} is missing; install the server again",
        )


def repository(name: str) -> str:
    """The hub's repository of a release, as faster-whisper names it."""
    owner = "mobiuslabsgmbh" if name == "turbo" else "Systran"
    return f"{owner}/faster-whisper-{_FULL_NAMES.get(name, name)}"


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
