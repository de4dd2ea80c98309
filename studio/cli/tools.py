"""The commands as tools for agents: their arguments and answers.

`mcp_server.py` offers them over the Model Context Protocol.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.cli.backend import Backend
from studio.cli.commands import COMMANDS, OVERWRITE, Choices, Command, default_folder
from studio.cli.options import SOUNDS
from studio.cli.run import CommandRequest, Run
from studio.cli.show import Records
from studio.errors import InvalidOption, UnknownFile, UnknownOption
from studio.inference.transfer import OnTransfer
from studio.jobs.body import JobOptions
from studio.jobs.job import Report

MODELS = "models"
# Limits of an answer: characters of a transcript, and files of a folder.
MAX_TEXT_CHARACTERS = 20_000
MAX_SOURCES = 200

OpenBackend = Callable[[Path], AbstractContextManager[Backend]]
"""Opens a backend with a folder for its temporary files."""


@dataclass(frozen=True)
class Tool:
    """A tool, with the JSON schema of its arguments."""

    name: str
    description: str
    input_schema: dict[str, Any]
    is_read_only: bool = False


class Tools:
    """The tools. `options` and `formats` are those of each model."""

    def __init__(
        self,
        options: Mapping[str, type[JobOptions]],
        formats: Mapping[str, Mapping[str, str]],
        open_backend: OpenBackend,
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        """`describe()` lists the models, for the tool of that name."""
        self._options = options
        self._formats = formats
        self._open_backend = open_backend
        self._describe = describe

    def all(self) -> list[Tool]:
        models = Tool(
            MODELS,
            "List the variants of all models, where their weights are, and their licences.",
            _object({}, []),
            is_read_only=True,
        )
        return [*map(self._tool, COMMANDS), models]

    def _tool(self, command: Command) -> Tool:
        about = f"{command.help[0].upper()}{command.help[1:]}."
        if command.reads_files:
            about += " Files already processed with the same options are skipped."
        if command.formats:
            about += " For a single file, the result includes its text."
        properties = self._properties(command)
        required = ["path"] if command.reads_files else ["prompt", "output"]
        return Tool(command.name, about, _object(properties, required))

    def _properties(self, command: Command) -> dict[str, Any]:
        """The JSON schema of each argument; those of options are those of the API."""
        properties: dict[str, Any] = {}
        if command.reads_files:
            properties["path"] = _text("An audio file, or a folder with audio files.")
        else:
            properties["prompt"] = _text("Description of the music.")
        properties["output"] = _text(f"Folder for the outputs. {_default_output(command)}")
        if command.name == "separate":
            properties["karaoke"] = _flag("Write the vocals, and the song without them.")
        if command.reads_files:
            properties["overwrite"] = _flag(f"{OVERWRITE[0].upper()}{OVERWRITE[1:]}.")
        properties |= {name: _text(about) for name, about in command.video.items()}
        if command.formats:
            properties["formats"] = {
                "type": "array",
                "items": {"enum": list(self._formats[command.model])},
                "default": command.formats.split(","),
            }
        options = self._options[command.model].model_json_schema()["properties"]
        left_out = command.excluded | ({"format"} if command.formats else set())
        sounds = {name: _text(f"Path of an {SOUNDS[name]}.") for name in SOUNDS if name in options}
        options |= sounds
        return properties | {name: one for name, one in options.items() if name not in left_out}

    def call(self, name: str, arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Call a tool. Raises a StudioError, or OSError."""
        if name == MODELS:
            return {"models": self._describe()}
        command = {one.name: one for one in COMMANDS}.get(name)
        if command is None:
            known = ", ".join(tool.name for tool in self.all())
            raise UnknownOption(f"There is no tool {name!r}. Known: {known}.")
        wanted = self._wanted(command, {k: v for k, v in arguments.items() if v is not None})
        collected = _Collected(report)
        with self._open_backend(wanted.output or _folder_of(Path(wanted.sources[0]))) as backend:
            Run(command, wanted, backend.models, collected).over(backend)
        return collected.answer(with_text=command.formats is not None)

    def _wanted(self, command: Command, arguments: dict[str, Any]) -> CommandRequest:
        properties = self._properties(command)
        for name in arguments:
            if name not in properties:
                raise UnknownOption(f"Unknown argument {name!r}. Known: {', '.join(properties)}.")
        body = dict(arguments)
        source = _string(body, "path" if command.reads_files else "prompt")
        output = _path(body, "output") if "output" in body else None
        sounds = {name: _path(body, name) for name in SOUNDS if name in body}
        video = tuple((name, _string(body, name)) for name in command.video if name in body)
        choices = Choices(_formats(body, command), bool(body.pop("karaoke", False)), video)
        overwrite = body.pop("overwrite", False) is True
        if command.reads_files:
            path = absolute(source)
            if not path.exists():
                raise UnknownFile(f"There is no file or folder {source!r} on this machine.")
            source = str(path)
            if command.model == "demucs" and output is None:
                output = _folder_of(path) / default_folder(command, path)
        elif output is None:
            raise InvalidOption("`output` is missing: name the folder for the music.")
        return CommandRequest([source], body, choices, output, sounds, overwrite=overwrite)


class _Collected(Records):
    """Collects the records of a command, and reports its progress.

    The progress is the number of finished sources plus the measured progress of the current one.
    """

    def __init__(self, report: Report) -> None:
        self._records: list[dict[str, Any]] = []
        self._report = report
        self._begun = 0
        super().__init__(self._records.append)

    @contextmanager
    def download(self, name: str) -> Iterator[OnTransfer]:
        yield lambda so_far: self._report(f"downloading {name}: {so_far.fraction:.0%}", self._begun)

    @contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        ended, self._begun = self._begun, self._begun + 1
        yield lambda stage, progress: self._report(f"{name}: {stage}", ended + progress)

    def answer(self, with_text: bool) -> dict[str, Any]:
        *sources, summary = self._records
        done = [one for one in sources if one.get("outputs")]
        answer = {
            "sources": sources[:MAX_SOURCES],
            "omitted": len(sources[MAX_SOURCES:]),
            **{key: summary[key] for key in ("done", "skipped", "failed")},
        }
        if with_text and len(done) == 1:
            text = Path(done[0]["outputs"][0]).read_text("utf-8")
            answer["text"] = text[:MAX_TEXT_CHARACTERS]
            answer["text_is_complete"] = len(text) <= MAX_TEXT_CHARACTERS
        return answer


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def _default_output(command: Command) -> str:
    if not command.reads_files:
        return ""
    return (
        "Default: `separated` beside the song."
        if command.model == "demucs"
        else "Default: beside each file."
    )


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _string(arguments: dict[str, Any], name: str) -> str:
    """Take a text from the arguments. Raises InvalidOption."""
    value = arguments.pop(name, None)
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption(f"`{name}` is {value!r}; it must be a non-empty string.")
    return value


def _path(arguments: dict[str, Any], name: str) -> Path:
    """Take a path from the arguments. Raises InvalidOption."""
    return absolute(_string(arguments, name))


def absolute(path: str) -> Path:
    """The absolute path. The home folder of a user who does not exist is a plain name."""
    with suppress(RuntimeError):
        return Path(path).expanduser().absolute()
    return Path(path).absolute()


def _formats(arguments: dict[str, Any], command: Command) -> tuple[str, ...]:
    """Take the formats from the arguments. Raises InvalidOption."""
    if command.formats is None:
        return ()
    formats = arguments.pop("formats", command.formats.split(","))
    if isinstance(formats, str):
        formats = [formats]
    if not (isinstance(formats, list) and formats and all(isinstance(f, str) for f in formats)):
        raise InvalidOption(f"`formats` is {formats!r}; it must be a list of formats.")
    return tuple(dict.fromkeys(formats))
