"""Edited transcripts: kept beside the original, in a folder of their own.

    <result>/edited/<version>/transcript.json, and the formats that were made from it

Formats of different versions have different paths, so that a conversion in progress never becomes a
format of a later version.
"""

import json
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, FailFast, Field

from studio.errors import InvalidOption
from studio.jobs.body import StrictBody, parse_body
from studio.results import TrackFolder
from studio.storage.results import FileInfo, ResultFolder
from studio.transcription.alignment.lyrics import MAX_BLANK_LINES
from studio.transcription.transcript import Segment, Transcript, Word

FOLDER, FILE = "edited", "transcript.json"
MAX_SEGMENTS, MAX_WORDS, MAX_CHARACTERS = 100_000, 10_000, 10_000
# In all segments together; a day of speech has about as many.
MAX_TOTAL_CHARACTERS = 1_000_000
# Times are rounded, and the last word may end with the file.
SPARE_S = 1.0


class _Part(StrictBody):
    model_config = ConfigDict(allow_inf_nan=False)


class EditedWord(_Part):
    text: str = Field(max_length=MAX_CHARACTERS)
    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    placed: bool = Field(True, description="False for a word of lyrics that has no time.")


class EditedSegment(_Part):
    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    text: str = Field(max_length=MAX_CHARACTERS)
    words: Annotated[list[EditedWord], FailFast()] = Field(
        default_factory=list,
        max_length=MAX_WORDS,
        description="The words of `text` with times; leave them out if they are unknown.",
    )
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 1.0
    placed: bool = Field(True, description="False for a line of lyrics that has no time.")
    tokens: Annotated[list[int], FailFast()] = Field(
        default_factory=list,
        max_length=MAX_WORDS,
        description="Ignored; an edited segment has none.",
    )
    blank_lines_before: int = Field(0, ge=0, le=MAX_BLANK_LINES)


class EditedTranscript(_Part):
    """A transcript as the format json has it. Only `segments` is required."""

    segments: Annotated[list[EditedSegment], FailFast()] = Field(max_length=MAX_SEGMENTS)
    language: str | None = Field(None, max_length=20)
    language_probability: float | None = None
    translated_into: str | None = Field(None, description="Ignored; that of the original is kept.")
    duration_s: float | None = Field(None, description="Ignored; the duration of the file is kept.")
    text: str | None = Field(None, description="Ignored; the text of the segments is used.")


def current(infos: Mapping[str, FileInfo]) -> str:
    """The inner folder of the edited transcript with a slash; empty if there is none."""
    versions = {
        name: info.modified_at
        for name, info in infos.items()
        if name.startswith(f"{FOLDER}/") and name.endswith(f"/{FILE}")
    }
    newest = max(versions, key=lambda name: (versions[name], name), default="")
    return newest.removesuffix(FILE)


def save(folder: TrackFolder, body: dict[str, Any]) -> None:
    """Store an edited transcript. It replaces an earlier edited one.

    Raises InvalidOption, UnknownOption or DiskFull.
    """
    original = _read(folder, FILE)
    edited = _read(folder, f"{current(folder.files.infos())}{FILE}")
    transcript = _parsed(body, original, _Stored.of(original, edited))
    text = json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1)
    earlier = _versions(folder.files)
    # Storages that round times still have the later version last.
    version = f"{FOLDER}/{time.time_ns():016x}"
    data = text.encode()
    folder.files.add(f"{version}/{FILE}", lambda: len(data), lambda path: _write(path, data))
    for one in earlier:
        folder.files.remove(one)


def restore(folder: TrackFolder) -> None:
    """Delete the edited transcript, if there is one."""
    for one in _versions(folder.files):
        folder.files.remove(one)


def _read(folder: TrackFolder, name: str) -> Transcript:
    return Transcript.from_dict(json.loads(folder.existing(name).path.read_text("utf-8")))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _versions(result: ResultFolder) -> set[str]:
    """The inner folders of edited versions."""
    parts = [name.split("/") for name in result.infos()]
    return {f"{FOLDER}/{names[1]}" for names in parts if names[0] == FOLDER}


@dataclass(frozen=True)
class _Stored:
    """What an edit may keep of the stored transcripts: models do not always obey the rules below.

    `early_s` are the starts of parts that begin before the one in front of them, `texts` those of
    segments and of their words, and `end_s` is the end of the last part.
    """

    early_s: frozenset[float]
    texts: frozenset[tuple[str, str]]
    end_s: float

    @classmethod
    def of(cls, original: Transcript, edited: Transcript) -> "_Stored":
        segments = original.segments + edited.segments
        early_s = {*_early(original.segments), *_early(edited.segments)}
        return cls(
            frozenset(early_s.union(*(_early(one.words) for one in segments))),
            frozenset((one.text, _text_of(one.words)) for one in segments),
            max((end_s for one in original.segments for end_s in _ends(one)), default=0.0),
        )


def _early(parts: Iterable[Segment | Word]) -> Iterator[float]:
    return (later.start_s for one, later in pairwise(parts) if later.start_s < one.start_s)


def _ends(segment: Segment) -> list[float]:
    return [segment.end_s, *(word.end_s for word in segment.words)]


def _text_of(words: Iterable[Word | EditedWord]) -> str:
    return "".join(word.text for word in words)


def _parsed(body: dict[str, Any], original: Transcript, stored: _Stored) -> Transcript:
    edited = parse_body(EditedTranscript, body)
    end_s = max(original.duration_s, stored.end_s)
    _check_length(edited.segments)
    _check_order(edited.segments, "segments", end_s, stored)
    for number, segment in enumerate(edited.segments):
        name = f"segments.{number}"
        _check_order(segment.words, f"{name}.words", end_s, stored)
        if (segment.text, _text_of(segment.words)) not in stored.texts:
            _check_text(segment.text, name)
            _check_words(segment, name)
    return Transcript(
        edited.language,
        edited.language_probability,
        original.duration_s,
        tuple(_segment(segment) for segment in edited.segments),
        original.translated_into,
    )


def _segment(edited: EditedSegment) -> Segment:
    values = edited.model_dump(exclude={"words", "tokens"})
    words = tuple(Word(**word.model_dump()) for word in edited.words)
    return Segment(**values, words=words)


def _check_length(segments: Sequence[EditedSegment]) -> None:
    total = sum(len(segment.text) for segment in segments)
    if total > MAX_TOTAL_CHARACTERS:
        raise InvalidOption(
            f"The `text` of all `segments` together has {total:,} characters; it may have up to "
            f"{MAX_TOTAL_CHARACTERS:,}. Shorten it."
        )


def _check_order(
    parts: Sequence[EditedSegment | EditedWord], name: str, end_s: float, stored: _Stored
) -> None:
    """Raise InvalidOption unless parts begin one after the other, within the recording."""
    from_s = 0.0
    for number, part in enumerate(parts):
        if part.start_s in stored.early_s:
            from_s = part.start_s
        if not from_s <= part.start_s <= part.end_s <= end_s + SPARE_S:
            raise InvalidOption(
                f"`{name}.{number}` lasts from {part.start_s} s to {part.end_s} s; it must begin "
                f"at {from_s} s or later and end within the {end_s:.1f} s of the recording."
            )
        from_s = part.start_s


def _check_text(text: str, name: str) -> None:
    for letter in text:
        if unicodedata.category(letter) == "Cc" and letter not in "\t\n\r":
            raise InvalidOption(
                f"`{name}.text` contains the control character U+{ord(letter):04X}. Remove it."
            )


def _check_words(segment: EditedSegment, name: str) -> None:
    """Raise InvalidOption if the words differ from the text: formats use one or the other."""
    words = _text_of(segment.words)
    if segment.words and "".join(words.split()) != "".join(segment.text.split()):
        raise InvalidOption(
            f"`{name}.words` are not the words of `{name}.text`. Change both, or leave out `words`."
        )
