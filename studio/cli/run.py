"""Runs a command over its sources, one after the other."""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from studio.audio.lyrics import parse_offset_ms
from studio.cli.commands import Choices, Command, default_folder, name_of
from studio.cli.fetching import fetch
from studio.cli.options import body_of, flag_of, sounds_of
from studio.cli.record import Record
from studio.cli.show import Display
from studio.cli.sources import Item, items_of, numbered
from studio.cli.workshop import Done, Models, Workshop
from studio.errors import InternalError, InvalidOption, StudioError, UnknownFile, UnknownFormat
from studio.karaoke.options import VOCALS, parse_video
from studio.karaoke.video import FORMAT, NAME

FAILED = 1
UNREACHABLE = "server_unreachable"
FILE_ERROR = "file_error"

log = logging.getLogger(__name__)


class Canceled(Exception):
    """A report raises it to end the whole command, and not only the job of one source."""


def file_sentence(error: OSError) -> str:
    """What the operating system says about a file, and which file it is."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."


@dataclass(frozen=True)
class Order:
    """What to do: sources, the options of the model, formats, and the output folder.

    `sounds` are the files that options of the model refer to.
    """

    sources: Sequence[str]
    body: dict[str, Any]
    choices: Choices
    output: Path | None
    sounds: Mapping[str, Path] = field(default_factory=dict)


def order_of(command: Command, arguments: argparse.Namespace, models: Models) -> Order:
    """The order in the arguments of a command line. Raises a StudioError."""
    excluded = command.excluded | ({"format"} if command.formats else set())
    formats = tuple(dict.fromkeys(arguments.format.split(","))) if command.formats else ()
    return Order(
        arguments.sources,
        body_of(arguments, models.options_of(command.model), excluded),
        Choices(formats, getattr(arguments, "karaoke", False), _video_of(command, arguments)),
        arguments.output,
        sounds_of(arguments),
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
    """A command with an order. Raises a StudioError if the order cannot be carried out."""

    def __init__(self, command: Command, order: Order, models: Models, screen: Display) -> None:
        self._command = command
        self._order = order
        self._screen = screen
        self._extensions = models.file_types_of(command.model)
        self._body = self._options(models)

    def _options(self, models: Models) -> dict[str, Any]:
        """The body of a request."""
        body = {**self._order.body, **self._command.fixed}
        if self._order.choices.karaoke:
            if "stems" in body:
                raise InvalidOption("`--karaoke` cannot be used with `--stems`. Leave one out.")
            body["stems"] = ["vocals"]
        if self._command.video:
            parse_video(dict(self._order.choices.video), [VOCALS])
        known = models.formats_of(self._command.model)
        for one in self._order.choices.formats:
            if one not in known:
                raise UnknownFormat(
                    f"`--format` is {one!r}. Available: {', '.join(known)}, or several of them "
                    "separated by commas."
                )
        return body

    def over(self, workshop: Workshop) -> int:
        """Work on all sources; the exit code."""
        counts = Counter[str]()
        items = self._items()
        with self._sounds(workshop):
            self._fetch(workshop)
            for item in items:
                counts[self._one(workshop, item)] += 1
        self._screen.summary(counts["done"], counts["skipped"], counts["failed"])
        return FAILED if counts["failed"] else 0

    @contextmanager
    def _sounds(self, workshop: Workshop) -> Iterator[None]:
        """Upload the sounds that options refer to, for all sources. Raises a StudioError."""
        with ExitStack() as uploaded:
            for option, path in self._order.sounds.items():
                if not path.is_file():
                    raise UnknownFile(f"There is no file {str(path)!r} for `{flag_of(option)}`.")
                # Separation accepts every kind of audio file.
                upload = workshop.upload(path, workshop.models.file_types_of("demucs"))
                uploaded.callback(workshop.forget, upload)
                self._body[option] = upload.file_id
            yield

    def _fetch(self, workshop: Workshop) -> None:
        """Download what the models of this command need. Raises a StudioError."""
        needed = {"model_variant": self._command.model}
        if self._body.get("source") == "vocals":
            needed["separation_variant"] = "demucs"
        for option, model in needed.items():
            variant = fetch(workshop, self._screen, model, self._body.get(option))
            if variant is not None:
                self._body[option] = variant

    def _items(self) -> list[Item]:
        """All sources. Raises InvalidOption if there are none."""
        order, command = self._order, self._command
        if not command.reads_files:
            return [Item(one, Path(), name_of(one)) for one in order.sources]
        # Texts go beside each file, unless there is an output folder.
        default = default_folder(command, Path()) if command.model == "demucs" else None
        return items_of(order.sources, self._extensions, order.output or default)

    def _one(self, workshop: Workshop, item: Item) -> str:
        """Work on a source: done, skipped or failed."""
        try:
            return self._work(workshop, item)
        except StudioError as error:
            self._screen.failed(item.label, error.code, error.sentence)
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

    def _work(self, workshop: Workshop, item: Item) -> str:
        command, choices = self._command, self._order.choices
        path = item.path if command.reads_files else workshop.text(item.label)
        upload = workshop.upload(path, self._extensions)
        if upload.sound and upload.sound.note:
            self._screen.remark(item.label, upload.sound.note)
        try:
            request = workshop.models.request(command.model, upload, self._body)
            folder = self._order.output or default_folder(command, item.path)
            is_beside = command.reads_files and folder == item.path.parent
            name = Path(item.name).name if is_beside else item.name
            record = Record(folder)
            key = json.dumps([name, asdict(choices), request.fingerprint])
            if request.fingerprint and (outputs := record.outputs(key)):
                self._screen.skipped(item.label, outputs)
                return "skipped"
            with self._screen.progress(item.name) as report:
                done = workshop.run(request, report)
                if not command.reads_files:
                    name = self._free_name(name, done, folder, record.recorded(key))
                outputs = []
                video = dict(choices.video)
                offset_ms = parse_offset_ms(video.get("offset_ms", "0"))
                for target, track, file_format in command.outputs(name, done, choices):
                    outputs.append(folder / target)
                    done.write(track, file_format, outputs[-1], offset_ms)
                if command.video:
                    outputs.append(folder / f"{name}.{NAME}.{FORMAT}")
                    on_wait = partial(report, "making the video", 1.0)
                    done.write_video(video, outputs[-1], on_wait)
            if request.fingerprint:
                record.add(key, outputs)
            self._screen.done(item.label, outputs, request.variant, done.result)
            return "done"
        finally:
            workshop.forget(upload)

    def _free_name(self, name: str, done: Done, folder: Path, own: Sequence[Path]) -> str:
        """The name of music, with a number if files of other music have it.

        Several prompts may have the same name, and without a seed each run makes other music.
        `own` are the files of an earlier run with the same prompt and options.
        """
        for times in count(1):
            free = numbered(name, times)
            targets = self._command.outputs(free, done, self._order.choices)
            paths = [folder / target for target, _, _ in targets]
            if all(path in own or not path.exists() for path in paths):
                break
        return free
