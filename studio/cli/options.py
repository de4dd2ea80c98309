"""Options of the command line, made from the same schemas as those of the API."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from studio.errors import UnknownFile
from studio.jobs.body import JobOptions, with_query
from studio.storage.texts import read_text

# Shorter names for what is typed often.
FLAGS = {"model_variant": "model"}
# Texts that are read from a file.
FILES = {"lyrics": "UTF-8 text file with the lyrics to align with the audio"}
# Sounds that are files here, and IDs of uploads in the API.
SOUNDS = {
    "continue_from": "audio file that the music starts with and continues",
    "melody_from": "audio file whose melody to follow; melody variants only",
}
MAX_CHARACTERS = 1_000_000


def flag_of(name: str) -> str:
    return "--" + FLAGS.get(name, name).replace("_", "-")


def add_options(
    parser: argparse.ArgumentParser, schema: type[JobOptions], without: Collection[str] = ()
) -> None:
    """Add a flag for each option of a schema. None of them has a default of its own."""
    for name, field in schema.model_fields.items():
        if name not in without:
            _add(parser, name, field)


def _add(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    default = field.get_default()
    known = default not in (None, PydanticUndefined)
    if about := FILES.get(name) or SOUNDS.get(name):
        parser.add_argument(
            flag_of(name),
            dest=name,
            metavar="FILE",
            type=Path,
            default=argparse.SUPPRESS,
            help=about,
        )
        return
    help_text = f"{field.description or ''}{f' (default: {default})' if known else ''}"
    flags: dict[str, Any] = {
        "dest": name,
        "default": argparse.SUPPRESS,
        "help": help_text.replace("%", "%%"),
    }
    if field.annotation is bool:
        parser.add_argument(flag_of(name), action=argparse.BooleanOptionalAction, **flags)
    else:
        parser.add_argument(flag_of(name), metavar="VALUE", **flags)


def body_of(
    arguments: argparse.Namespace, schema: type[JobOptions], without: Collection[str] = ()
) -> dict[str, Any]:
    """The options that were given, as the body of a request has them.

    A list is given with commas, a text by its file. What does not fit its type is left for
    `parse_options` to report. Raises UnknownFile or TextUnreadable.
    """
    query: dict[str, list[str]] = {}
    for name, field in schema.model_fields.items():
        value = getattr(arguments, name, None)
        if name in without or name in SOUNDS or value is None:
            continue
        if isinstance(value, Path):
            query[name] = [_content(value, name)]
        elif isinstance(value, bool):
            query[name] = [str(value).lower()]
        else:
            is_list = "list[" in str(field.annotation)
            query[name] = value.split(",") if is_list else [value]
    return with_query(schema, {}, query)


def sounds_of(arguments: argparse.Namespace) -> dict[str, Path]:
    """The sounds that were given, by option."""
    given = vars(arguments)
    return {name: given[name] for name in SOUNDS if name in given}


def texts_of(arguments: argparse.Namespace) -> list[Path]:
    """The files that options are read from."""
    given = vars(arguments)
    return [given[name] for name in FILES if name in given]


def _content(path: Path, name: str) -> str:
    """The text of a file for an option, whose length `parse_options` checks."""
    if not path.is_file():
        raise UnknownFile(f"There is no file {str(path)!r} for `{flag_of(name)}`.")
    return read_text(path, MAX_CHARACTERS, name)
