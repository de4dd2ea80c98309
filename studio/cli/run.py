"""Runs a command over its sources, one after the other."""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from studio.cli.backend import Backend, Models
from studio.cli.commands import Choices, Command, default_folder, expected_result, name_of
from studio.cli.fetching import fetch
from studio.cli.options import body_of, flag_of, sounds_of, texts_of
from studio.cli.record import Record
from studio.cli.show import Display
from studio.cli.sources import Item, items_of
from studio.cli.writer import FileKept, Writer
from studio.errors import InternalError, InvalidOption, StudioError, UnknownFile, UnknownFormat
from studio.karaoke.options import VOCALS, parse_video

FAILED = 1
UNREACHABLE = "server_unreachable"
FILE_ERROR = "file_error"
FILE_EXISTS = "file_exists"

log = logging.getLogger(__name__)


class Canceled(Exception):
    """A report raises it to end the whole command, and not only the job of one source."""


def file_sentence(error: OSError) -> str:
    """What the operating system says about a file, and which file it is."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."


@dataclass(frozen=True)
class CommandRequest:
    """What to do: sources, the options of the model, formats, and the output folder.

    `sounds` are the files that options of the model refer to, `texts` those that options were read
    from. With `overwrite`, files are replaced that are no outputs of earlier commands.
    """

    sources: Sequence[str]
    body: dict[str, Any]
    choices: Choices
    output: Path | None
    sounds: Mapping[str, Path] = field(default_factory=dict)
    texts: Sequence[Path] = ()
    overwrite: bool = False


def command_request(
    command: Command, arguments: argparse.Namespace, models: Models
) -> CommandRequest:
    """The request in the arguments of a command line. Raises a StudioError."""
    excluded = command.excluded | ({"format"} if command.formats else set())
    formats = tuple(dict.fromkeys(arguments.format.split(","))) if command.formats else ()
    return CommandRequest(
        arguments.sources,
        body_of(arguments, models.options_of(command.model), excluded),
        Choices(formats, getattr(arguments, "karaoke", False), _video_of(command, arguments)),
        arguments.output,
        sounds_of(arguments),
        texts_of(arguments),
        getattr(arguments, "overwrite", False),
    )


def _video_of(command: Command, arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """The options of a video that were given."""
    given = ((name, getattr(arguments, name)) for name in command.video)
    return tuple((name, value) for name, value in given if value is not None)


def _unexpected(error: Exception) -> str:
    return (
        f"The job failed because of an unexpected error ({type(error).__name__}). The log on "
        "standard error has the details."
    )


class Run:
    """A command and what it is to do. Raises a StudioError if the options are invalid."""

    def __init__(
        self, command: Command, wanted: CommandRequest, models: Models, screen: Display
    ) -> None:
        self._command = command
        self._wanted = wanted
        self._screen = screen
        self._extensions = models.file_types_of(command.model)
        self._body = self._options(models)
        self._is_fallback = False

    def _options(self, models: Models) -> dict[str, Any]:
        """The body of a request."""
        body = {**self._wanted.body, **self._command.fixed}
        if self._wanted.choices.karaoke:
            if "stems" in body:
                raise InvalidOption("`--karaoke` cannot be used with `--stems`. Leave one out.")
            body["stems"] = ["vocals"]
        if self._command.video:
            parse_video(dict(self._wanted.choices.video), [VOCALS])
        known = models.formats_of(self._command.model)
        for one in self._wanted.choices.formats:
            if one not in known:
                raise UnknownFormat(
                    f"`--format` is {one!r}. Available: {', '.join(known)}, or several of them "
                    "separated by commas."
                )
        return body

    def over(self, backend: Backend) -> int:
        """Work on all sources; the exit code."""
        counts = Counter[str]()
        items = self._items()
        with self._sounds(backend):
            self._fetch(backend)
            for item in items:
                counts[self._one(backend, item)] += 1
        self._screen.summary(counts["done"], counts["skipped"], counts["failed"])
        return FAILED if counts["failed"] else 0

    @contextmanager
    def _sounds(self, backend: Backend) -> Iterator[None]:
        """Upload the sounds that options refer to, for all sources. Raises a StudioError."""
        with ExitStack() as uploaded:
            for option, path in self._wanted.sounds.items():
                if not path.is_file():
                    raise UnknownFile(f"There is no file {str(path)!r} for `{flag_of(option)}`.")
                # Separation accepts every kind of audio file.
                upload = backend.upload(path, backend.models.file_types_of("demucs"))
                uploaded.callback(backend.forget, upload)
                self._body[option] = upload.file_id
            yield

    def _fetch(self, backend: Backend) -> None:
        """Download what the models of this command need. Raises a StudioError."""
        needed = {"model_variant": self._command.model}
        if self._body.get("source") == "vocals":
            needed["separation_variant"] = "demucs"
        for option, model in needed.items():
            given = self._body.get(option)
            variant = fetch(backend, self._screen, model, given)
            if variant is not None:
                self._is_fallback |= given is None
                self._body[option] = variant

    def _items(self) -> list[Item]:
        """All sources. Raises InvalidOption if there are none."""
        wanted, command = self._wanted, self._command
        if not command.reads_files:
            return [Item(one, Path(), name_of(one)) for one in wanted.sources]
        # Texts go beside each file, unless there is an output folder.
        default = default_folder(command, Path()) if command.model == "demucs" else None
        return items_of(wanted.sources, self._extensions, wanted.output or default)

    def _one(self, backend: Backend, item: Item) -> str:
        """Work on a source: done, skipped or failed."""
        try:
            return self._work(backend, item)
        except StudioError as error:
            self._screen.failed(item.label, error.code, error.sentence)
        except FileKept as error:
            self._screen.failed(item.label, FILE_EXISTS, str(error))
        except ConnectionError as error:
            self._screen.failed(item.label, UNREACHABLE, str(error))
        except FileNotFoundError:
            self._screen.failed(item.label, "unknown_file", "The file does not exist.")
        except OSError as error:
            self._screen.failed(item.label, FILE_ERROR, file_sentence(error))
        except Canceled:
            raise
        except Exception as error:
            log.error("%s failed", item.label, exc_info=error)
            self._screen.failed(item.label, InternalError.code, _unexpected(error))
        return "failed"

    def _work(self, backend: Backend, item: Item) -> str:
        command, wanted = self._command, self._wanted
        path = item.path if command.reads_files else backend.text(item.label)
        upload = backend.upload(path, self._extensions)
        if upload.sound and upload.sound.note:
            self._screen.remark(item.label, upload.sound.note)
        try:
            request = backend.models.request(command.model, upload, self._body)
            folder = wanted.output or default_folder(command, item.path)
            is_beside = command.reads_files and folder == item.path.parent
            name = Path(item.name).name if is_beside else item.name
            record = Record(folder)
            key = json.dumps([name, asdict(wanted.choices), request.fingerprint])
            done_before = record.outputs(key, unchanged=wanted.overwrite)
            if request.fingerprint and done_before:
                self._screen.skipped(item.label, done_before)
                return "skipped"
            inputs = [path, *wanted.texts, *wanted.sounds.values()]
            writer = Writer(
                command, wanted.choices, record, inputs, wanted.overwrite, self._is_fallback
            )
            writer.check(name, expected_result(request.options))
            if command.video:
                backend.check_video(path, request, dict(wanted.choices.video))
            with self._screen.progress(item.name) as report:
                done = backend.run(request, report)
                if not command.reads_files:
                    name = writer.free_name(name, done.result, key)
                outputs = writer.write(name, done, report)
            if request.fingerprint:
                record.add(key, outputs)
            self._screen.done(item.label, outputs, request.variant, done.result)
            return "done"
        finally:
            backend.forget(upload)
