"""What a transcription produced, and its track `transcription`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, Field

from studio.audio.lyrics import LyricLine, Lyrics, LyricWord
from studio.audio.tags import NO_TAGS
from studio.results import Editing, ModelResult, Result, Track, TrackFolder, for_current
from studio.storage.results import ResultFolder, StoredFile, remove_oldest
from studio.transcription import editing
from studio.transcription.cues import short_lines
from studio.transcription.formats import FORMATS, PITCHED, TAGGED
from studio.transcription.pitches import FILE as PITCHES_FILE
from studio.transcription.pitches import with_pitches
from studio.transcription.transcript import Transcript

TRACK = "transcription"
TRANSCRIPT_FILE = editing.FILE
DEFAULT_FORMAT = "txt"
# The folder of transcripts with an offset, one inner folder for each; the latest ones are kept.
DELAYED = "delayed"
MAX_KEPT = 3
# Styles and tags at the beginning of a file.
MAX_HEADER_BYTES = 8 << 10
CONTENT_TYPES = {name: content_type for name, (_, content_type) in FORMATS.items()}


class VocalsResult(Result):
    """The result of a separation that a transcription job made, with the variant that made it.

    The other fields are those of the family that separated.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    variant: str


class TranscriptionResult(ModelResult):
    """A transcript's figures. `source` is `mixture` or `vocals`.

    `vocals_from` is the id of the job that separated the vocals; where it is this job itself,
    `separation` is the result of that separation, with its variant.
    """

    language: str | None = Field(examples=["en"])
    language_probability: float | None = Field(examples=[0.98])
    segments: int = Field(description="Number of segments.", examples=[31])
    words: int = Field(description="Number of words.", examples=[240])
    speech_s: float = Field(description="Seconds of audio that were transcribed.", examples=[150.2])
    placed: int | None = Field(
        default=None, description="Number of words of `lyrics` that were found in the audio."
    )
    source: str = "mixture"
    vocals_from: str | None = None
    separation: VocalsResult | None = None


def transcript_track() -> Track:
    """The transcript; each format is written when it is first asked for."""
    formats = tuple(CONTENT_TYPES)
    by_hand = Editing(editing.current, editing.save, editing.restore)
    return Track(
        TRACK,
        TRACK,
        formats=CONTENT_TYPES,
        default_format=DEFAULT_FORMAT,
        archived=formats,
        file_stem=TRACK,
        make=_make,
        tagged=TAGGED,
        editing=by_hand,
        lyrics=_lyrics,
        delayed=_make,
    )


def _lyrics(folder: TrackFolder) -> Lyrics:
    """The words of the transcript in use, in lines as short as those of subtitles."""
    transcript = _transcript(folder)
    lines = (
        LyricLine(tuple(LyricWord(one.text, one.start_s, one.end_s) for one in row), has_times)
        for row, has_times in short_lines(transcript)
    )
    return Lyrics(transcript.text_language, tuple(lines))


def _transcript(folder: TrackFolder) -> Transcript:
    """The edited transcript, or the original if there is none."""
    file = folder.existing(f"{editing.current(folder.files.infos())}{TRANSCRIPT_FILE}")
    return Transcript.from_dict(json.loads(file.path.read_text("utf-8")))


def _make(folder: TrackFolder, file_format: str, offset_ms: int = 0) -> StoredFile:
    """Write a format of the edited transcript, or of the original if there is none.

    All times are `offset_ms` later, or earlier if it is negative.
    """

    def of_version(files: ResultFolder, _version: str) -> StoredFile:
        return _add(folder, files, file_format, offset_ms)

    return for_current(editing.current, folder.files, of_version)


def _add(folder: TrackFolder, files: ResultFolder, file_format: str, offset_ms: int) -> StoredFile:
    """A format of the transcript in `files`, which are those of one version."""
    transcript = replace(folder, files=files).existing(TRANSCRIPT_FILE)
    write, _ = FORMATS[file_format]

    def make(path: Path) -> None:
        read = Transcript.from_dict(json.loads(transcript.path.read_text("utf-8")))
        if file_format in PITCHED and (pitches := folder.files.file(PITCHES_FILE)).info():
            read = with_pitches(read, np.load(pitches.path))
        if offset_ms:
            read = read.delayed(offset_ms / 1000)
        tags = folder.tags() if file_format in TAGGED else NO_TAGS
        path.write_text(write(read, tags), "utf-8", newline="\n")

    def needed_bytes() -> int:
        # No format says more than the transcript; marks and line ends may make some of it longer.
        return 2 * transcript.path.stat().st_size + MAX_HEADER_BYTES

    if not offset_ms:
        return files.add(transcript_track().file_name(file_format), needed_bytes, make)
    kept, inner = f"{DELAYED}/", str(offset_ms)
    name = f"{kept}{inner}/{TRACK}.{file_format}"
    is_new = files.file(name).info() is None
    file = files.add(name, needed_bytes, make)
    if is_new:
        remove_oldest(files, kept, inner, MAX_KEPT)
    return file
