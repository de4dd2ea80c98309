"""Sound fonts and drum kits, for training and measuring the separation model only.

`make sounds` runs this file. It downloads packages of Debian by name, and keeps their sounds in
`data/sounds/PACKAGE`, which git ignores. A package that is already there is not fetched again. None
of it is part of the product.
"""

import argparse
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.packages import fetch_debian

FOLDER = Path(__file__).resolve().parent.parent / "data" / "sounds"


@dataclass(frozen=True)
class Package:
    """A package: the folder of its sounds inside it, and the SHA-256 of that folder."""

    folder: str
    size_mb: int
    sha256: str


PACKAGES = {
    "timgm6mb-soundfont": Package(
        "usr/share/sounds/sf2",
        5,
        "6a25112395aa37482c2363bcd877a4f934dc628ef0a2e83393f7c95f8bc4ae0e",
    ),
    "avldrums.lv2-soundfont": Package(
        "usr/share/sounds/sf2",
        25,
        "5667d7a4fe5d68bc6930ace6d7235369ac5fb3966497c42c54e3a611bce7c7ca",
    ),
    "musescore-general-soundfont-small": Package(
        "usr/share/sounds/sf3",
        34,
        "57e418415a5c30e3c5a184d19f1fd78de27b2cf5dc821b003aa871c2ebbadc6f",
    ),
    "opl3-soundfont": Package(
        "usr/share/sounds/sf2",
        100,
        "1ff2600432c10e0b3b09cd97b5a9e5d6e2c41f6f46e0bdd226f68b5168cf6b4b",
    ),
    "fluid-soundfont-gm": Package(
        "usr/share/sounds/sf2",
        120,
        "d8f0e131a739d57b441f5fcad033e6c54b853f1cde8395ca73fb6c1ece76bd3e",
    ),
    "hydrogen-drumkits": Package(
        "usr/share/hydrogen/data/drumkits",
        143,
        "2e9765e90e8d60bd794d5666654d991c1b5f4ca3a63df21ffe3f5f71c07da4b0",
    ),
}


def missing(names: list[str]) -> list[str]:
    """Those of the packages whose sounds are not on disk."""
    return [name for name in names if not (FOLDER / name).exists()]


def folder_sha256(folder: Path) -> str:
    """The SHA-256 of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def fetch(name: str) -> None:
    """Download a package and keep its sounds; they appear whole, by rename."""
    package = PACKAGES[name]
    with tempfile.TemporaryDirectory(prefix=".", dir=FOLDER) as temporary:
        folder = fetch_debian([name], Path(temporary)) / package.folder
        sha256 = folder_sha256(folder)
        if sha256 != package.sha256:
            raise SystemExit(
                f"The sounds of {name} have SHA-256 {sha256}, not {package.sha256}. Scores of the "
                "model card were measured with those of Debian 12."
            )
        folder.rename(FOLDER / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="PACKAGE", choices=PACKAGES, default=list(PACKAGES),
        help=f"fetch only these packages of {', '.join(PACKAGES)}",
    )  # fmt: skip
    names = missing(parser.parse_args().only)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"{name} ({PACKAGES[name].size_mb} MB)", flush=True)
        fetch(name)
    print(f"{FOLDER} is complete")


if __name__ == "__main__":
    main()
