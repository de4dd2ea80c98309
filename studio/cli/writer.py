"""Writes the outputs of a command, but not over other files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from studio.audio.lyrics import parse_offset_ms
from studio.audio.replacing import replacing
from studio.cli.backend import FinishedJob
from studio.cli.commands import Choices, Command, Result
from studio.cli.hidden import check_writable
from studio.cli.record import Record
from studio.cli.sources import numbered
from studio.jobs.job import Report
from studio.karaoke.video import NAME

MOVE = "Move it, choose another output folder (`--output`), or use `--overwrite`."


class FileKept(Exception):
    """An output would replace a file that no earlier command wrote."""


@dataclass(frozen=True)
class Writer:
    """Writes the outputs of a source into the folder of the record.

    `inputs` are the files that the command reads. With `overwrite`, all others may be replaced.
    If a fallback is used in place of the default variant, none may be.
    """

    command: Command
    choices: Choices
    record: Record
    inputs: Sequence[Path]
    overwrite: bool
    is_fallback: bool

    def check(self, name: str, result: Result) -> None:
        """Raise FileKept if an output would replace a file that must be kept.

        Raises a StudioError if a folder of the outputs cannot be written.
        """
        paths = self._paths(name, result)
        for folder in dict.fromkeys([self.record.folder, *(path.parent for path in paths)]):
            check_writable(folder)
        for path in filter(Path.exists, paths):
            if any(map(path.samefile, self.inputs)):
                raise FileKept(
                    f"{str(path)!r} is an input of this command, which would replace it. Choose "
                    "another output folder (`--output`)."
                )
            if self.is_fallback and not self.overwrite:
                raise FileKept(
                    f"{str(path)!r} exists, and the bundled variant is used only because the "
                    f"default one is missing. {MOVE}"
                )
            if not (self.overwrite or self.record.wrote(path)):
                raise FileKept(
                    f"{str(path)!r} exists, and no earlier command wrote it, or it was changed "
                    f"since. {MOVE}"
                )

    def write(self, name: str, done: FinishedJob, report: Report) -> list[Path]:
        """Write the outputs; their paths. Raises as `check` before the first one is written."""
        self.check(name, done.result)
        video = dict(self.choices.video)
        offset_ms = parse_offset_ms(video.get("offset_ms", "0"))
        outputs = self.command.outputs(name, done.result, self.choices)
        for target, track, file_format in outputs:
            path = self.record.folder / target
            with replacing(path) as new:
                if track == NAME:
                    done.write_video(video, new, partial(report, "making the video", 1.0))
                else:
                    done.write(track, file_format, new, offset_ms)
                self.record.write(path, new)
        return self._paths(name, done.result)

    def free_name(self, name: str, result: Result, key: str) -> str:
        """The name of music, with a number if files of other music have it.

        Several prompts may have the same name, and without a seed each run makes other music.
        `key` is that of the prompt and its options: the files of an earlier run are replaced.
        """
        own = [path for path in self.record.recorded(key) if self.record.wrote(path)]
        for times in count(1):
            free = numbered(name, times)
            if all(path in own or not path.exists() for path in self._paths(free, result)):
                break
        return free

    def _paths(self, name: str, result: Result) -> list[Path]:
        outputs = self.command.outputs(name, result, self.choices)
        return [self.record.folder / target for target, _, _ in outputs]
