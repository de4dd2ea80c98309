"""Finds the files that a command works on, and decides what their outputs are called."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.cli.record import recorded_outputs
from studio.errors import InvalidOption


@dataclass(frozen=True)
class Item:
    """A source: what it is called on the screen, its file, and the name of its outputs."""

    label: str
    path: Path
    name: str


@dataclass(frozen=True)
class _Found:
    """A file, its path inside the given folder, and the name of that folder."""

    path: Path
    relative: Path
    home: str


def items_of(
    sources: Sequence[str], extensions: Collection[str], output: Path | None
) -> list[Item]:
    """The given files, and those in given folders, in order, each once.

    In folders, hidden files, the `output` folder and outputs of earlier commands are skipped.
    Raises InvalidOption if there is no file.
    """
    by_path: dict[Path, _Found] = {}
    for source in map(Path, sources):
        for one in _files(source, extensions, output):
            by_path.setdefault(one.path.resolve(), one)
    if not by_path:
        accepted = ", ".join(f".{extension}" for extension in sorted(extensions))
        raise InvalidOption(f"There are no files with the extensions {accepted}.")
    files = list(by_path.values())
    names = _unique_names(files)
    return [Item(str(one.path), one.path, name) for one, name in zip(files, names, strict=True)]


def _files(source: Path, extensions: Collection[str], output: Path | None) -> Iterator[_Found]:
    if not source.is_dir():
        yield _Found(source, Path(source.name), source.resolve().parent.name)
        return
    own = recorded_outputs(source)
    # If the output folder is the source itself, only recorded outputs are skipped.
    inner = None if output is None or output.resolve() == source.resolve() else output.resolve()
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if (
            path.suffix.lower().lstrip(".") in extensions
            and not any(part.startswith(".") for part in relative.parts)
            and path.is_file()
            and path.resolve() not in own
            and (inner is None or not path.resolve().is_relative_to(inner))
        ):
            yield _Found(path, relative, source.resolve().name)


def _unique_names(files: Sequence[_Found]) -> list[str]:
    """A name for the outputs of each file: the file name without its extension if that is unique.

    Otherwise with the extension, the given folder, both, or a number.
    """
    ways = (
        [one.relative.with_suffix("") for one in files],
        [one.relative for one in files],
        [Path(one.home, one.relative.with_suffix("")) for one in files],
        [Path(one.home, one.relative) for one in files],
    )
    keys = [[str(name).casefold() for name in way] for way in ways]
    counts = [Counter(way) for way in keys]
    names: list[str] = []
    used = Counter[str]()
    for number in range(len(files)):
        unique = (way for way in range(len(ways)) if counts[way][keys[way][number]] == 1)
        way = next(unique, len(ways) - 1)
        name = ways[way][number].as_posix()
        used[name.casefold()] += 1
        names.append(numbered(name, used[name.casefold()]))
    return names


def numbered(name: str, times: int) -> str:
    """A name that is used for the first, second, ... time."""
    return name if times == 1 else f"{name} ({times})"
