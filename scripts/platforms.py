"""Check that every dependency has a build for each platform, and print a table with sizes.

    python -m scripts.platforms [--write] [--wheel FILE]

It asks the package index, downloads no package, and takes a minute. `--write` puts the table into
docs/installing.md. `--wheel` gives CPU builds of PyTorch for Linux, whose sizes are otherwise read
from TORCH_INDEX.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urljoin

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from scripts.install.pytorch import CPU_INDEX
from scripts.install.wanted import WITHOUT_DEPENDENCIES, name_of, requirements
from scripts.lock import OF_CUDA

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "installing.md"
BEGIN, END = "<!-- platforms: begin -->\n", "<!-- platforms: end -->\n"
INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
ENGINES = {"openvino": "OpenVINO", "torch": "PyTorch", "ctranslate2": "CTranslate2"}
TIMEOUT_S = 60


@dataclass(frozen=True)
class Platform:
    """A kind of computer: how uv names it, and the tags of the builds that run on it."""

    title: str
    uv: str
    tags: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def _linux(machine: str, glibc: int) -> Platform:
    """Linux with glibc 2.`glibc` or newer."""
    old = [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 4, -1)]
    title = f"Linux {'ARM64' if machine == 'aarch64' else machine}, glibc 2.{glibc}"
    return Platform(title, f"{machine}-manylinux_2_{glibc}", (*tags, *old, f"linux_{machine}"))


PLATFORMS = (
    _linux("x86_64", 28),
    _linux("aarch64", 35),
    Platform(
        "macOS 14, Apple silicon",
        "aarch64-apple-darwin",
        tuple(mac_platforms((14, 0), "arm64")),
        (("MACOSX_DEPLOYMENT_TARGET", "14.0"),),
    ),
)


@dataclass(frozen=True)
class Row:
    """What a platform and a Python download, in megabytes."""

    platform: Platform
    python: tuple[int, int]
    others_mb: float
    torch_mb: float | None
    engines: tuple[str, ...]
    missing: tuple[str, ...]

    def cells(self) -> list[str]:
        python = "{}.{}".format(*self.python)
        if self.missing:
            reason = f"not possible: no build of {', '.join(self.missing)}"
            return [self.platform.title, python, "", "", "", reason]
        torch = "not read" if self.torch_mb is None else f"{self.torch_mb:.0f} MB"
        total = "" if self.torch_mb is None else f"{self.others_mb + self.torch_mb:.0f} MB"
        shown = [f"{self.others_mb:.0f} MB", torch, total, ", ".join(self.engines)]
        return [self.platform.title, python, *shown]


def resolved(platform: Platform, python: tuple[int, int]) -> dict[str, str]:
    """The versions of all packages that set-up installs without CUDA, by name."""
    wanted = [one.partition(";")[0].strip() for one in requirements("requirements.txt")]
    bare = [one for one in wanted if name_of(one) in WITHOUT_DEPENDENCIES]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--python-platform", platform.uv]
    command += ["--python-version", "{}.{}".format(*python)]
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(one for one in wanted if one not in bare))
        file.flush()
        done = subprocess.run(
            [*command, file.name],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict(platform.environment)},
        )
    pins = (line.split("==") for line in [*done.stdout.splitlines(), *bare] if "==" in line)
    return {name: version for name, version in pins if not name.startswith(OF_CUDA)}


def ranks(platform: Platform, python: tuple[int, int]) -> dict[Tag, int]:
    """The tags that an interpreter accepts, the best first."""
    tags = [
        *cpython_tags(python, platforms=platform.tags),
        *compatible_tags(python, f"cp{python[0]}{python[1]}", platform.tags),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def best(files: dict[str, int], version: str, accepted: dict[Tag, int]) -> int | None:
    """The size in bytes of the wheel that pip would take; None if there is none."""
    found: list[tuple[int, int]] = []
    for name, size in files.items():
        try:
            _, its_version, _, tags = parse_wheel_filename(name)
        except ValueError:
            continue
        rank = min((accepted[tag] for tag in tags if tag in accepted), default=None)
        if rank is not None and str(its_version) == version:
            found.append((rank, size))
    return min(found)[1] if found else None


@cache
def files_of(name: str) -> dict[str, int]:
    """The files of a package on the index, with their sizes in bytes."""
    kind = {"Accept": "application/vnd.pypi.simple.v1+json"}
    request = urllib.request.Request(f"{INDEX.rstrip('/')}/{name}/", headers=kind)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return {file["filename"]: file.get("size", 0) for file in json.load(answer)["files"]}


@cache
def cpu_builds() -> dict[str, str]:
    """The addresses of PyTorch's CPU builds by file name; none if their index is unreachable."""
    page = f"{os.environ.get('TORCH_INDEX', CPU_INDEX).rstrip('/')}/torch/"
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:
            links = re.findall(r'href="([^"#]+\.whl)', answer.read().decode())
    except (OSError, ValueError):
        return {}
    return {unquote(link.rpartition("/")[2]): urljoin(page, link) for link in links}


def torch_bytes(
    version: str, platform: Platform, accepted: dict[Tag, int], wheels: Sequence[Path]
) -> int | None:
    """The size of the build of PyTorch without CUDA; None if it is not known."""
    if not platform.title.startswith("Linux"):
        return best(files_of("torch"), version, accepted)
    local = {path.name: path.stat().st_size for path in wheels}
    if size := best(local, f"{version}+cpu", accepted):
        return size
    numbers = {name: number for number, name in enumerate(cpu_builds())}
    number = best(numbers, f"{version}+cpu", accepted)
    if number is None:
        return None
    address = list(cpu_builds().values())[number]
    head = urllib.request.Request(address, method="HEAD")
    with urllib.request.urlopen(head, timeout=TIMEOUT_S) as answer:
        return int(answer.headers["Content-Length"])


def row(platform: Platform, python: tuple[int, int], wheels: Sequence[Path] = ()) -> Row:
    packages = resolved(platform, python)
    accepted = ranks(platform, python)
    sizes = {name: best(files_of(name), version, accepted) for name, version in packages.items()}
    missing = tuple(f"{name} {packages[name]}" for name, size in sizes.items() if size is None)
    torch = torch_bytes(packages["torch"], platform, accepted, wheels)
    others = sum(size or 0 for name, size in sizes.items() if name != "torch")
    engines = tuple(title for name, title in ENGINES.items() if sizes[name] is not None)
    return Row(platform, python, others / 1e6, torch and torch / 1e6, engines, missing)


def table(rows: Sequence[Row]) -> Iterator[str]:
    head = ["platform", "Python", "without PyTorch", "PyTorch", "download in all", "engines"]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for one in rows:
        yield f"| {' | '.join(one.cells())} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    parser.add_argument("--wheel", type=Path, action="append", default=[])
    options = parser.parse_args()
    rows = [row(platform, python, options.wheel) for platform in PLATFORMS for python in PYTHONS]
    text = "\n".join(table(rows)) + "\n"
    print(text, end="")
    if options.write:
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}", "utf-8")
    if any(one.missing for one in rows):
        raise SystemExit("Some packages have no build; see the table.")


if __name__ == "__main__":
    main()
