"""The variants of Whisper: what each one is, and where its weights are stored for each engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.inference import hub
from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where
from studio.transcription.languages import EARLIER_LANGUAGES, ENGLISH, LANGUAGES

FASTER_WHISPER = "faster-whisper"
# Without these, faster-whisper would look for them on the network.
DIRECTORY_FILES = ("model.bin", "config.json", "tokenizer.json")

# Parameters in millions, from the model card of openai-whisper; two bytes each are downloaded.
_PARAMETERS = {
    "tiny": 39, "tiny.en": 39, "base": 74, "base.en": 74, "small": 244, "small.en": 244,
    "medium": 769, "medium.en": 769, "large-v3": 1550, "large": 1550, "turbo": 809,
}  # fmt: skip
# The multilingual releases before large-v3.
_EARLIER = ("tiny", "base", "small", "medium")
_NOT_TRANSLATING = ("turbo", "large-v3-turbo")
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


@dataclass(frozen=True, kw_only=True)
class WhisperVariant(Variant):
    """A variant of Whisper; `path` is its directory or checkpoint, if it is on this machine."""

    path: Path | None = None

    @property
    def languages(self) -> frozenset[str]:
        """The languages of a release; for other models, those that one may have."""
        if self.name == BUNDLED or self.name.endswith(".en"):
            return ENGLISH
        return EARLIER_LANGUAGES if self.name in _EARLIER else LANGUAGES

    @property
    def translates(self) -> bool:
        """Whether it translates into English; assumed where its name does not say it."""
        return self.languages != ENGLISH and self.name not in _NOT_TRANSLATING


class _Store(Protocol):
    """Where the weights of one engine are stored."""

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
        folder = hub.cached_folder(repository(name), "model.bin")
        return folder if folder and not self.damage(folder) else None


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


class WhisperCatalogue(Catalogue[WhisperVariant]):
    """Finds variants for an engine: the bundled one, those in `MODEL_DIR/whisper`, the caches.

    `cache` is the folder of openai-whisper's downloads; `package` is the engine's module.
    """

    title = "Whisper"
    releases = RELEASES

    def __init__(self, bundled_dir: Path, local_dir: Path, cache: Path, engine: str) -> None:
        self.engine = engine
        self.local_dir = local_dir
        is_faster = engine == FASTER_WHISPER
        self.package = "faster_whisper" if is_faster else "whisper"
        self._bundled_path = bundled_dir / "ctranslate2"
        self._store: _Store = _Directories() if is_faster else _Checkpoints(cache)
        self.cache = cache

    def bundled(self) -> WhisperVariant:
        path = self._bundled_path
        exists = path.exists()
        return WhisperVariant(
            name=BUNDLED,
            purpose="Small English model made for this project: a closed vocabulary, for first "
            "runs",
            where=Where.BUNDLED,
            licence=MIT,
            size_bytes=_size_bytes(path) if exists else None,
            files=_files(path),
            damage=None if exists else f"{path} is missing; install the server again",
            path=path,
        )

    def local_names(self) -> list[str]:
        return self._store.local_names(self.local_dir) if self.local_dir.is_dir() else []

    def local(self, name: str) -> WhisperVariant | None:
        path = self._store.path(self.local_dir, name)
        if not path.exists():
            return None
        licence = MIT if name in RELEASES else "yours"
        return _found(name, Where.LOCAL, licence, path, self._store.damage(path))

    def cached(self, name: str) -> WhisperVariant | None:
        path = self._store.cached(name)
        return None if path is None else _found(name, Where.DOWNLOADED, MIT, path)

    def available(self, name: str) -> WhisperVariant:
        return WhisperVariant(
            name=name,
            purpose=_purpose(name),
            where=Where.AVAILABLE,
            licence=MIT,
            size_bytes=_PARAMETERS[name] * 2_000_000,
        )

    def wanted_path(self, name: str) -> Path:
        """Where the weights of a variant can be put by hand."""
        return self._store.path(self.local_dir, name)


def _found(
    name: str, where: Where, licence: str, path: Path, damage: str | None = None
) -> WhisperVariant:
    return WhisperVariant(
        name=name,
        purpose=_purpose(name),
        where=where,
        licence=licence,
        size_bytes=_size_bytes(path),
        files=_files(path),
        damage=damage,
        path=path,
    )


def _purpose(name: str) -> str:
    purpose = _PURPOSES.get(name.removesuffix(".en"), "Local model")
    return f"{purpose}, English only" if name.endswith(".en") else purpose


def repository(name: str) -> str:
    """The hub's repository of a release, as faster-whisper names it."""
    owner = "mobiuslabsgmbh" if name == "turbo" else "Systran"
    return f"{owner}/faster-whisper-{_FULL_NAMES.get(name, name)}"


def _files(path: Path) -> tuple[Path, ...]:
    """A checkpoint, or the files of a directory."""
    if path.is_dir():
        return tuple(sorted(file for file in path.iterdir() if file.is_file()))
    return (path,) if path.is_file() else ()


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))
