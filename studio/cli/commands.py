"""The commands that work on files: their models, options and outputs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.karaoke.options import HELP
from studio.karaoke.video import FORMAT, NAME
from studio.separation.catalogue import FOUR

MAX_NAME_CHARACTERS = 60

Output = tuple[str, str, str]
"""Path inside the output folder, track and format."""


@dataclass(frozen=True)
class Choices:
    """What to write, besides the options of the model: formats, and whether for karaoke.

    `video` are the options of a video.
    """

    formats: tuple[str, ...] = ()
    karaoke: bool = False
    video: tuple[tuple[str, str], ...] = ()


Result = Mapping[str, Any]
Outputs = Callable[[str, Result, Choices], list[Output]]


@dataclass(frozen=True)
class Command:
    """A command that works on files, or on descriptions of music.

    `fixed` are options that it sets itself; `without` are options that only make sense on a server.
    `outputs(name, result, choices)` lists what is written for a source that is called `name`.
    `formats` are the default of `--format` where several formats may be chosen. `video` describes
    the options of the karaoke video that is made of each source; it is empty if none is made.
    """

    name: str
    model: str
    help: str
    output_help: str
    outputs: Outputs
    fixed: dict[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    formats: str | None = None
    reads_files: bool = True
    video: Mapping[str, str] = field(default_factory=dict)

    @property
    def excluded(self) -> set[str]:
        return {*self.fixed, *self.without}


def _stems(name: str, result: Result, choices: Choices) -> list[Output]:
    wanted = ["vocals", "instrumental"] if choices.karaoke else result["stems"]
    file_format = result["format"]
    return [(f"{name}/{track}.{file_format}", track, file_format) for track in wanted]


def _texts(name: str, _result: Result, choices: Choices) -> list[Output]:
    return [(f"{name}.{one}", "transcription", one) for one in choices.formats]


def _music(name: str, result: Result, _choices: Choices) -> list[Output]:
    file_format = result["format"]
    return [
        (f"{track.replace('music', name, 1)}.{file_format}", track, file_format)
        for track in result["music"]
    ]


def _analysis(name: str, result: Result, _choices: Choices) -> list[Output]:
    outputs = [(f"{name}.analysis.json", "analysis", "json")]
    if click := result["click"]:
        outputs.append((f"{name}.click.{click['format']}", "click", click["format"]))
    return outputs


def _words_and_video(name: str, result: Result, choices: Choices) -> list[Output]:
    return [*_texts(name, result, choices), (f"{name}.{NAME}.{FORMAT}", NAME, FORMAT)]


def expected_result(options: Mapping[str, Any]) -> Result:
    """What names the outputs in the result of a job with these options, before it runs.

    Stems that only some variants have are missing, and music, which gets a name that is free.
    """
    given, file_format = options.get("stems"), options.get("format", "wav")
    # The options of a request to a server have not been checked.
    stems = given if isinstance(given, list) else FOUR
    click = {"format": file_format} if options.get("click", True) else None
    return {"stems": stems, "format": file_format, "click": click, "music": ()}


def name_of(prompt: str) -> str:
    """A file name for music that a prompt describes."""
    words = re.sub(r"[^\w]+", "-", prompt, flags=re.UNICODE).strip("-").lower()
    return words[:MAX_NAME_CHARACTERS].rstrip("-") or "music"


BESIDE = "folder for the texts (default: beside each file)"
OVERWRITE = "replace files that no earlier command wrote, or that were changed since"
COMMANDS = (
    Command(
        "separate",
        "demucs",
        "separate songs into stems",
        "folder for the stems, with a folder for each song (default: separated)",
        _stems,
        without=frozenset({"source"}),
    ),
    Command("transcribe", "whisper", "turn speech into text", BESIDE, _texts, formats="txt"),
    Command(
        "lyrics",
        "whisper",
        "write the words of songs as LRC: separate the vocals, then transcribe them",
        BESIDE,
        _texts,
        fixed={"source": "vocals"},
        formats="lrc",
    ),
    Command(
        "karaoke",
        "whisper",
        "make karaoke videos of songs: separate the vocals, transcribe them, write the words and "
        "the video",
        "folder for the texts and videos (default: beside each file)",
        _words_and_video,
        fixed={"source": "vocals"},
        formats="lrc,ass",
        video=HELP,
    ),
    Command(
        "analyse",
        "analysis",
        "find tempo, beats, key and chords of songs, and write a click track",
        "folder for the analyses (default: beside each file)",
        _analysis,
    ),
    Command(
        "generate",
        "musicgen",
        "generate music from descriptions",
        "folder for the music (default: the current folder)",
        _music,
        reads_files=False,
    ),
)


def default_folder(command: Command, source: Path) -> Path:
    """Where outputs go unless `--output` says where."""
    if command.model == "demucs":
        return Path("separated")
    return source.parent if command.reads_files else Path()
