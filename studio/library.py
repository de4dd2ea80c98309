"""Separate, transcribe and generate from Python, in this process. A front door like `app.py`.

`from studio import separate, transcribe, generate` loads this module. Settings are those of the
environment and `.env`, options those of the API; both are read and checked by the same code.
Every function raises a StudioError, such as NotAudio or UnknownVariant, and OSError, or the
ConfigError of a setting.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from config import Config
from models import SETTINGS, Models
from studio.audio import NO_TAGS, AudioFormat, Tags
from studio.audio.replacing import replacing
from studio.cli.backend import LocalBackend, LocalFinishedJob, open_backend
from studio.cli.commands import COMMANDS, Choices, name_of
from studio.cli.options import SOUNDS
from studio.errors import InvalidOption, UnknownFormat
from studio.generation.result import GenerationResult
from studio.inference.registry import Registry
from studio.jobs.job import Report
from studio.jobs.store import JobStore
from studio.separation.result import INSTRUMENTAL, WITHOUT, SeparationResult
from studio.storage.storage import Storage
from studio.transcription.formats import FORMATS, PITCHED
from studio.transcription.pitches import FILE as PITCHES_FILE
from studio.transcription.pitches import Pitches, with_pitches
from studio.transcription.result import TRANSCRIPT_FILE, TranscriptionResult
from studio.transcription.transcript import Segment, Transcript


class SeparationKeywords(TypedDict, total=False):
    """Options of `separate`; docs/api.md describes them."""

    model_variant: str
    stems: list[str] | str
    format: AudioFormat
    shifts: int
    overlap: float


class TranscriptionKeywords(TypedDict, total=False):
    """Options of `transcribe`; docs/api.md describes them."""

    model_variant: str
    language: str
    task: Literal["transcribe", "translate"]
    source: Literal["mixture", "vocals"]
    separation_variant: str
    initial_prompt: str
    hotwords: str
    lyrics: str
    word_timestamps: bool
    vad: bool
    beam_size: int
    temperature: float | list[float]
    batch_size: int


class GenerationKeywords(TypedDict, total=False):
    """Options of `generate`; docs/api.md describes them. Two are paths of audio files here."""

    model_variant: str
    duration: float
    seed: int
    guidance_scale: float
    temperature: float
    top_k: int
    top_p: float
    format: AudioFormat
    continue_from: str | Path
    melody_from: str | Path
    variations: int
    loudness: float


@dataclass(frozen=True)
class Separated:
    """The files of a separation, by track, and the result as in the API."""

    tracks: dict[str, Path]
    result: SeparationResult


@dataclass(frozen=True)
class Transcribed:
    """A transcript, and the result as in the API."""

    transcript: Transcript
    result: TranscriptionResult
    _tags: Tags = field(default=NO_TAGS, repr=False)
    _pitches: Pitches | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text, one line per segment."""
        return self.transcript.text

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, with times in seconds, and words unless `word_timestamps` is False."""
        return self.transcript.segments

    def write(self, path: str | Path) -> Path:
        """Write the transcript in the format that the file name ends in, such as srt or plain.lrc.

        Raises UnknownFormat.
        """
        target = Path(path)
        fitting = [one for one in FORMATS if target.name.lower().endswith(f".{one}")]
        if not fitting:
            raise UnknownFormat(
                f"{target.name!r} does not have the extension of a format. Available: "
                f"{', '.join('.' + one for one in FORMATS)}."
            )
        file_format = max(fitting, key=len)
        transcript = self.transcript
        if file_format in PITCHED and self._pitches is not None:
            transcript = with_pitches(transcript, self._pitches)
        to_text, _ = FORMATS[file_format]
        with replacing(target) as new:
            new.write_text(to_text(transcript, self._tags), "utf-8", newline="\n")
        return target


@dataclass(frozen=True)
class Generated:
    """The files of generated music, by track, and the result as in the API."""

    tracks: dict[str, Path]
    result: GenerationResult


def separate(
    song: str | Path,
    output: str | Path = "separated",
    *,
    tracks: Sequence[str] = (),
    report: Report = lambda *_: None,
    **options: Unpack[SeparationKeywords],
) -> Separated:
    """Separate a song into stems: files in a folder with the name of the song, inside `output`.

    `tracks` names what to write instead of all stems, such as `instrumental` or `no_drums`.
    `report(stage, progress)` is called several times a second, and may raise to cancel.
    """
    folder, name = Path(output), Path(song).stem
    body: dict[str, Any] = dict(options)
    if tracks:
        if "stems" in body:
            raise InvalidOption("`tracks` cannot be used with `stems`. Leave one out.")
        body["stems"] = [_stem_of(track) for track in tracks]
    with _backend(folder) as backend:
        done = _run(backend, "demucs", Path(song), body, report)
        outputs = _outputs("separate", name, done)
        if tracks:
            outputs = {one: f"{name}/{one}.{done.default_format(one)}" for one in tracks}
        return Separated(_write(done, outputs, folder), SeparationResult.from_dict(done.result))


def _stem_of(track: str) -> str:
    """The stem that a track is made from."""
    return "vocals" if track == INSTRUMENTAL else track.removeprefix(WITHOUT)


def transcribe(
    recording: str | Path,
    *,
    report: Report = lambda *_: None,
    **options: Unpack[TranscriptionKeywords],
) -> Transcribed:
    """Transcribe speech, or with `source="vocals"` a song.

    `report(stage, progress)` is called several times a second, and may raise to cancel.
    """
    with (
        tempfile.TemporaryDirectory(prefix="audio-studio-") as folder,
        _backend(Path(folder)) as backend,
    ):
        done = _run(backend, "whisper", Path(recording), options, report)
        data = json.loads(done.folder.existing(TRANSCRIPT_FILE).path.read_text("utf-8"))
        pitches = done.folder.files.file(PITCHES_FILE)
        return Transcribed(
            Transcript.from_dict(data),
            TranscriptionResult.from_dict(done.result),
            done.folder.tags(),
            np.load(pitches.path) if pitches.info() else None,
        )


def generate(
    prompt: str,
    output: str | Path = ".",
    *,
    report: Report = lambda *_: None,
    **options: Unpack[GenerationKeywords],
) -> Generated:
    """Generate music from a description: files in `output`, named after the prompt.

    `report(stage, progress)` is called several times a second, and may raise to cancel.
    """
    folder = Path(output)
    with _backend(folder) as backend:
        body: dict[str, Any] = dict(options)
        for option in SOUNDS:
            if option in body:
                sounds = backend.models.file_types_of("demucs")
                body[option] = backend.upload(Path(body[option]), sounds).file_id
        done = _run(backend, "musicgen", backend.text(prompt), body, report)
        outputs = _outputs("generate", name_of(prompt), done)
        return Generated(_write(done, outputs, folder), GenerationResult.from_dict(done.result))


@cache
def _shared() -> tuple[Config, Registry]:
    """The settings, and the models that stay loaded between calls."""
    config = Config.load(only=SETTINGS)
    return config, Registry(config.MODEL_IDLE_S)


@contextmanager
def _backend(folder: Path) -> Iterator[LocalBackend]:
    config, registry = _shared()

    def make(storage: Storage, store: JobStore) -> Models:
        return Models(config, storage, store, registry=registry)

    with open_backend(make, folder) as backend:
        yield backend


def _run(
    backend: LocalBackend, model: str, path: Path, body: Mapping[str, Any], report: Report
) -> LocalFinishedJob:
    upload = backend.upload(path, backend.models.file_types_of(model))
    return backend.run(backend.models.request(model, upload, dict(body)), report)


def _outputs(command: str, name: str, done: LocalFinishedJob) -> dict[str, str]:
    """Paths inside the output folder by track, named as on the command line."""
    [named] = [one.outputs for one in COMMANDS if one.name == command]
    return {track: path for path, track, _ in named(name, done.result, Choices())}


def _write(done: LocalFinishedJob, outputs: dict[str, str], folder: Path) -> dict[str, Path]:
    written = {track: folder / path for track, path in outputs.items()}
    for track, path in written.items():
        with replacing(path) as new:
            done.write(track, done.default_format(track), new)
    return written
