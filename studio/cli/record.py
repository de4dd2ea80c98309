"""Remembers what was written in a folder: it is not made again, and no other file is replaced."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from studio.audio.replacing import replacing
from studio.cli.hidden import PREFIX, locked
from studio.inference.content_hash import read_hash

FILE = ".audio-studio.json"
_LOCK = f"{PREFIX}record.lock"
LOCK_TIMEOUT_S = 30.0


def recorded_outputs(folder: Path) -> set[Path]:
    """The real paths of all outputs recorded in a folder and its subfolders."""
    return {path.resolve() for record in folder.rglob(FILE) for path in Record(record.parent).all()}


class Record:
    """The outputs of commands, kept in the output folder as JSON, which other commands may change.

    `done` has the outputs of finished work. Its key names the work: everything that the outputs
    depend on, and what they are called. `written` has the SHA-256 of every output, also of work
    that was interrupted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / FILE

    def all(self) -> list[Path]:
        """All outputs that were written."""
        _, written = self._read()
        return [self.folder / name for name in written]

    def recorded(self, key: str) -> list[Path]:
        """The outputs of work that was done, which may have been deleted since."""
        done, _ = self._read()
        return [self.folder / name for name in done.get(key, [])]

    def outputs(self, key: str, *, unchanged: bool = False) -> list[Path]:
        """The outputs of work that was done; empty if it was not, or one of them is gone.

        With `unchanged`, also if one of them was changed.
        """
        paths = self.recorded(key)
        is_there = self.wrote if unchanged else Path.is_file
        return paths if all(is_there(path) for path in paths) else []

    def wrote(self, path: Path) -> bool:
        """Whether a file is as a command wrote it."""
        _, written = self._read()
        sha256 = written.get(self._name(path))
        return sha256 is not None and path.is_file() and read_hash(path) == sha256

    def write(self, path: Path, new: Path) -> None:
        """Record an output before the file `new` takes its place.

        Work with an output of that name is no longer done.
        """
        sha256 = read_hash(new)
        with self._changed() as (done, written):
            _forget(done, {self._name(path)})
            written[self._name(path)] = sha256

    def add(self, key: str, outputs: list[Path]) -> None:
        """Record that work is done, whose outputs have been written."""
        names = [self._name(path) for path in outputs]
        with self._changed() as (done, _):
            _forget(done, set(names))
            done[key] = names

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _read(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """What is done, and what was written; nothing if the file is missing or damaged."""
        try:
            known = json.loads(self._path.read_text("utf-8"))
            done = {key: [str(name) for name in names] for key, names in known["done"].items()}
            return done, dict(known["written"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, {}

    @contextmanager
    def _changed(self) -> Iterator[tuple[dict[str, list[str]], dict[str, str]]]:
        """Change what is done and written, without losing what other commands add."""
        with ExitStack() as held:
            # Some file systems have no locks.
            with suppress(OSError):
                held.enter_context(locked(self.folder / _LOCK, LOCK_TIMEOUT_S))
            done, written = self._read()
            yield done, written
            with replacing(self._path) as path:
                path.write_text(json.dumps({"done": done, "written": written}, indent=1), "utf-8")


def _forget(done: dict[str, list[str]], names: set[str]) -> None:
    """Drop work that has one of these outputs."""
    for key in [key for key, outputs in done.items() if names.intersection(outputs)]:
        del done[key]
