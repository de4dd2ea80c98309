"""`audio-studio`: separate, transcribe, analyse and generate on this machine, without a server."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from studio import __version__
from studio.cli.backend import Backend, MakeProcessors, describe_models, open_backend
from studio.cli.commands import COMMANDS, OVERWRITE, Command
from studio.cli.options import add_options, flag_of
from studio.cli.run import FAILED, FILE_ERROR, Run, command_request, file_sentence
from studio.cli.show import Display, Records, Screen, write_line
from studio.cli.signals import ended_by_signals
from studio.cli.tools import Tools
from studio.errors import StudioError
from studio.jobs.body import JobOptions
from studio.settings.folders import install_command

INTERRUPTED = 130
_OPTION = re.compile(r"--[a-z-]+")
_DECIBELS = re.compile(r"-[0-9.]+dB")


Options = Mapping[str, type[JobOptions]]
"""The options of each model."""


@dataclass(frozen=True)
class Interface:
    """What the front door provides: the processors, and the options and formats of each model.

    `fonts` is a folder with more fonts for videos. If `server_url` is set, jobs of agents run on
    that server.
    """

    make_processors: MakeProcessors
    options: Options
    formats: Mapping[str, Mapping[str, str]]
    fonts: Path | None = None
    server_url: str = ""
    server_key: str = field(default="", repr=False)


def parse(options: Options, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of a command. Exits if they are wrong, or ask for help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return parser_of(options).parse_args(_with_decibels(arguments))


def main(interface: Interface, given: argparse.Namespace) -> int:
    """Run a command other than `serve`; its exit code."""
    if given.command == "mcp":
        return _serve_agents(interface)
    if isinstance(sys.stdout, TextIOWrapper):
        # File names may have bytes that are not UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    screen: Display = Records(write_line) if given.json else Screen()
    try:
        return _run(interface, given, screen)
    except StudioError as error:
        screen.failed("audio-studio", error.code, error.sentence)
        return FAILED
    except BrokenPipeError:
        # Nobody reads the output any more, so no error can be shown there.
        raise
    except OSError as error:
        screen.failed("audio-studio", FILE_ERROR, file_sentence(error))
        return FAILED
    except KeyboardInterrupt:
        sentence = "Interrupted. Run the same command again to continue."
        screen.failed("audio-studio", "interrupted", sentence)
        return INTERRUPTED


def _with_decibels(arguments: Sequence[str]) -> list[str]:
    """Arguments with negative decibels joined to their option: argparse reads -6dB as an option."""
    joined: list[str] = []
    for one in arguments:
        if _DECIBELS.fullmatch(one) and joined and _OPTION.fullmatch(joined[-1]):
            joined[-1] += f"={one}"
        else:
            joined.append(one)
    return joined


def _run(interface: Interface, given: argparse.Namespace, screen: Display) -> int:
    """Run a command that shows something; its exit code. Raises a StudioError or OSError."""
    if given.command == "models":
        screen.models(describe_models(interface.make_processors))
        return 0
    folder = given.output or Path.cwd()
    with (
        ended_by_signals(),
        open_backend(interface.make_processors, folder, interface.fonts) as backend,
    ):
        command = next(one for one in COMMANDS if one.name == given.command)
        wanted = command_request(command, given, backend.models)
        return Run(command, wanted, backend.models, screen).over(backend)


def _serve_agents(interface: Interface) -> int:
    from studio.cli import mcp_server

    if not mcp_server.is_installed():
        sentence = f"The package `mcp` is missing. {install_command('requirements-mcp.txt')}"
        Screen().failed("audio-studio", "package_missing", sentence)
        return FAILED

    def backend(folder: Path) -> AbstractContextManager[Backend]:
        if not interface.server_url:
            return open_backend(interface.make_processors, folder, interface.fonts)
        return remote()

    def remote() -> AbstractContextManager[Backend]:
        from studio.cli.remote import open_remote

        return open_remote(
            interface.server_url, interface.server_key, interface.options, interface.formats
        )

    def describe() -> dict[str, Any]:
        if not interface.server_url:
            return describe_models(interface.make_processors)
        with remote() as opened:
            return opened.models.describe()

    mcp_server.serve(Tools(interface.options, interface.formats, backend, describe))
    return 0


def parser_of(options: Options) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audio-studio",
        description="Separate, transcribe, analyse and generate on this machine.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        _add(
            commands.add_parser(command.name, help=command.help, description=command.help),
            command,
            options,
        )
    models = commands.add_parser("models", help="list variants, and where their weights are")
    models.add_argument("--json", action="store_true", help="print JSON")
    commands.add_parser("serve", help="start the production server")
    commands.add_parser("mcp", help="offer these commands to agents (Model Context Protocol)")
    return parser


def _add(parser: argparse.ArgumentParser, command: Command, options: Options) -> None:
    """Add the arguments of a command that works on files."""
    if command.reads_files:
        parser.add_argument("sources", nargs="+", metavar="FILE|FOLDER")
    else:
        parser.add_argument("sources", nargs="+", metavar="PROMPT", help="description of the music")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help=command.output_help)
    if command.reads_files:
        parser.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    if command.name == "separate":
        parser.add_argument(
            "--karaoke", action="store_true", help="write the vocals, and the song without them"
        )
    excluded = set(command.excluded)
    for name, about in command.video.items():
        parser.add_argument(flag_of(name), metavar="VALUE", help=about.replace("%", "%%"))
    if command.formats:
        parser.add_argument(
            "--format",
            metavar="FORMATS",
            default=command.formats,
            help=f"one or more formats, separated by commas (default: {command.formats})",
        )
        excluded.add("format")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each source")
    add_options(parser, options[command.model], excluded)
