"""Remembers what was done in a folder, so that the same command does not do it again."""

import json
from pathlib import Path
from typing import Any

from studio.audio.replacing import replacing

FILE = ".audio-studio.json"


def recorded_outputs(folder: Path) -> set[Path]:
    """The real paths of all outputs recorded in a folder and its subfolders."""
    return {path.resolve() for record in folder.rglob(FILE) for path in Record(record.parent).all()}


class Record:
    """Outputs of finished work, kept in the output folder as JSON.

    `key` names the work: everything that the outputs depend on, and what they are called.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._known: dict[str, Any] = {}
        try:
            known = json.loads(self._path.read_text("utf-8"))
            self._known = known if isinstance(known, dict) else {}
        except (OSError, ValueError):
            pass

    def all(self) -> list[Path]:
        """All outputs that were written."""
        lists = [names for names in self._known.values() if isinstance(names, list)]
        return [self._folder / str(name) for names in lists for name in names]

    def recorded(self, key: str) -> list[Path]:
        """The outputs of work that was done, which may have been deleted since."""
        names = self._known.get(key)
        return [self._folder / str(name) for name in names] if isinstance(names, list) else []

    def outputs(self, key: str) -> list[Path]:
        """The outputs of work that was done; empty if it was not, or one of them is gone."""
        paths = self.recorded(key)
        return paths if all(path.is_file() for path in paths) else []

    def add(self, key: str, outputs: list[Path]) -> None:
        """Remember outputs; the file is replaced as a whole."""
        self._known[key] = [path.relative_to(self._folder).as_posix() for path in outputs]
        with replacing(self._path) as path:
            path.write_text(json.dumps(self._known, indent=1), "utf-8")
