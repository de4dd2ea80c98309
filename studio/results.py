"""The results of jobs: a typed description, and tracks in several formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from studio import audio
from studio.audio.lyrics import Lyrics
from studio.errors import ResultsGone, UnknownFile
from studio.jobs.job import Job
from studio.storage.on_demand import check_wanted
from studio.storage.results import FileInfo, ResultFolder, StoredFile
from studio.storage.storage import Storage
from studio.storage.uploads import Upload


class Result(BaseModel):
    """The description of the results of a completed job, stored as JSON in the job record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    duration_s: float = Field(examples=[196.4])

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the fields that are set; `from_dict` is the inverse."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls.model_validate(data)


class ModelResult(Result):
    """A result with the engine of the model, a note if it is not the best one, and the speed."""

    engine: str = Field(examples=["openvino"])
    precision: str = Field(examples=["bf16"])
    note: str | None = Field(
        description="Why the result is not the best possible one, or is empty."
    )
    elapsed_s: float = Field(examples=[24.5])
    real_time_factor: float = Field(
        description="Seconds of work per second of sound.", examples=[0.125]
    )


class SoundResult(Result):
    """A result with audio tracks of equal length.

    They are stored as 32-bit float WAV; `gain` scales them for fixed-point formats.
    """

    format: str = Field(description="Format of downloads by default.", examples=["wav"])
    sample_rate_hz: int = Field(examples=[44_100])
    channels: int = Field(examples=[2])
    samples: int = Field(description="Samples of each channel.", examples=[8_661_240])
    gain: float = Field(
        description="Factor that keeps fixed-point formats from clipping.", examples=[1.0]
    )


@dataclass(frozen=True)
class TrackFolder:
    """The files of a job's results, and its upload with its original file name."""

    files: ResultFolder
    upload: StoredFile
    filename: str

    @classmethod
    def of(cls, storage: Storage, upload: Upload, job: Job) -> Self:
        """The folder of a job of an upload."""
        return cls(storage.result(job.result_id), storage.source(upload), upload.filename)

    def existing(self, name: str) -> StoredFile:
        """A file written by the job. Raises ResultsGone."""
        file = self.files.file(name)
        if file.info() is None:
            raise ResultsGone(
                "The results of this job have been deleted from the server. Start the job again."
            )
        return file

    def tags(self) -> audio.Tags:
        """The tags of the upload, completed from its name, without its picture."""
        return audio.read_tags(self.upload.path).completed(self.filename)

    def all_tags(self) -> audio.Tags:
        """These, with its picture."""
        return audio.read_all_tags(self.upload.path).completed(self.filename)


# Storages share no inner folders; see `Storage.share`.
TAGGED_FOLDER = "tagged/"
PEAKS = audio.PEAKS_FORMATS[audio.FINE]
SOUND_FORMATS = {**audio.CONTENT_TYPES, PEAKS: audio.PEAKS_TYPE}
"""The formats of audio tracks, with content types. `PEAKS` is waveform data for players."""

Made = TypeVar("Made")

MakeTrack = Callable[[TrackFolder, str], StoredFile]
"""Returns the file of a track in a format, and writes it if it does not exist."""


@dataclass(frozen=True)
class Editing:
    """How a track is edited by hand: the edited version is kept beside the original.

    Given all files of a result, `current` returns what the names of those of the version in use
    begin with: nothing, or the inner folder of an edited version. `save` checks and stores an
    edited version; `restore` deletes it.
    """

    current: Callable[[Mapping[str, FileInfo]], str]
    save: Callable[[TrackFolder, dict[str, Any]], None]
    restore: Callable[[TrackFolder], None]


def for_current(
    current: Callable[[Mapping[str, FileInfo]], str],
    files: ResultFolder,
    make: Callable[[ResultFolder, str], Made],
) -> Made:
    """What `make` returns for the files of the version in use, and its name: `Editing.current`.

    If an edit replaces this version meanwhile, the new one is tried, once.
    """
    version = current(files.infos())
    try:
        return make(files.within(version), version)
    except (FileNotFoundError, ResultsGone, UnknownFile):
        newer = current(files.infos())
        if newer == version:
            raise
        return make(files.within(newer), newer)


@dataclass(frozen=True)
class Track:
    """A track of a completed job."""

    name: str
    # Tracks of a group belong together in an archive.
    group: str
    _: KW_ONLY
    # Content types by format.
    formats: Mapping[str, str]
    default_format: str
    # The formats in an archive; none if the track can be derived from others.
    archived: tuple[str, ...]
    # The name of its files without the extension.
    file_stem: str
    make: MakeTrack
    # The model variant that made it; None for the variant of the job.
    variant: str | None = None
    # Formats that contain the name of the upload. They are in an inner folder, because other files
    # may be shared with an upload of another name.
    tagged: tuple[str, ...] = ()
    # Formats of waveform data by samples per pixel.
    zooms: Mapping[int, str] = field(default_factory=dict)
    # The track of each channel, if the file joins several tracks.
    channels: tuple[str, ...] = ()
    # How it is edited; None if it cannot be.
    editing: Editing | None = None
    # None for the length of the result.
    duration_s: float | None = None
    # The song begins this long after the track does.
    starts_s: float = 0.0
    # What the joined tracks are mixed from.
    song: Callable[[TrackFolder], audio.Song] | None = None
    # The words of a transcript.
    lyrics: Callable[[TrackFolder], Lyrics] | None = None
    # A format of a transcript with all times later by milliseconds.
    delayed: Callable[[TrackFolder, str, int], StoredFile] | None = None

    def file_name(self, file_format: str) -> str:
        folder = TAGGED_FOLDER if file_format in self.tagged else ""
        return f"{folder}{self.file_stem}.{file_format}"

    def in_format(self, folder: TrackFolder, file_format: str, offset_ms: int = 0) -> StoredFile:
        """The file in a format, made if it does not exist. Words are shown `offset_ms` later."""
        if self.delayed is not None:
            return self.delayed(folder, file_format, offset_ms)
        return self.make(folder, file_format)

    def version(self, infos: Mapping[str, FileInfo]) -> str:
        """What the names of the files of the version in use begin with; see `Editing.current`."""
        return self.editing.current(infos) if self.editing else ""


@dataclass(frozen=True)
class Derivation:
    """Derives a WAV from the WAV `base` of the same job: `write(folder, base, target)`."""

    base: str
    write: Callable[[TrackFolder, StoredFile, Path], None]


def sound_track(
    name: str,
    group: str,
    result: SoundResult,
    file_stem: str | None = None,
    derivation: Derivation | None = None,
) -> Track:
    """An audio track: a WAV written by the job, or one derived on first request."""
    stem = file_stem or name
    zooms = {extension: zoom for zoom, extension in audio.PEAKS_FORMATS.items()}

    def master(folder: TrackFolder) -> StoredFile:
        if derivation is None:
            return folder.existing(f"{stem}.wav")
        base = folder.existing(derivation.base)
        return folder.files.add(
            f"{stem}.wav",
            lambda: audio.max_bytes(base.path, "wav"),
            lambda path: derivation.write(folder, base, path),
        )

    def make(folder: TrackFolder, file_format: str) -> StoredFile:
        wav = master(folder)
        if file_format == "wav":
            return wav
        file_name = f"{stem}.{file_format}"
        if file_format in zooms:
            return _add_peaks(folder, wav, file_name, zooms[file_format], result)
        tags = cache(lambda: audio.read_all_tags(folder.upload.path).of_track(stem))
        return folder.files.add(
            file_name,
            lambda: audio.max_bytes(wav.path, file_format) + tags().picture_bytes,
            lambda path: audio.encode(
                wav.path,
                path,
                file_format,
                result.gain,
                lambda _: check_wanted(),
                tags=tags(),
            ),
        )

    archived = () if derivation else (result.format,)
    return Track(
        name,
        group,
        formats=SOUND_FORMATS,
        default_format=result.format,
        archived=archived,
        file_stem=stem,
        make=make,
        duration_s=result.duration_s,
        zooms=audio.PEAKS_FORMATS,
    )


def _add_peaks(
    folder: TrackFolder, wav: StoredFile, name: str, samples_per_pixel: int, result: SoundResult
) -> StoredFile:
    """The peaks of a track; older results, and derived tracks, have none yet."""
    return folder.files.add(
        name,
        lambda: audio.max_peaks_bytes(result.samples),
        lambda path: audio.write_peaks(
            audio.read_blocks(wav.path),
            result.sample_rate_hz,
            path,
            samples_per_pixel,
            check_wanted,
        ),
    )


def joined_track(
    name: str,
    group: str,
    parts: Sequence[str],
    result: SoundResult,
    mixture: Callable[[TrackFolder], StoredFile],
) -> Track:
    """All tracks of a job as one file, with their channels one after the other.

    FLAC holds at most 8 channels. `parts` are tracks that the job wrote, and `mixture` returns the
    recording that they are parts of.
    """
    channels = tuple(part for part in parts for _ in range(result.channels))
    formats = ["flac", "wav"] if len(channels) <= audio.FLAC_CHANNELS else ["wav"]

    def make(folder: TrackFolder, file_format: str) -> StoredFile:
        sources = [folder.existing(f"{part}.wav") for part in parts]
        gain = 1.0 if file_format == "wav" else result.gain
        return folder.files.add(
            f"{name}.{file_format}",
            lambda: sum(audio.max_bytes(source.path, file_format) for source in sources),
            lambda path: audio.join_tracks(
                [source.path for source in sources], path, file_format, gain, check_wanted
            ),
        )

    def song(folder: TrackFolder) -> audio.Song:
        return audio.Song(
            mixture(folder).path,
            {part: folder.existing(f"{part}.wav").path for part in parts},
            result.duration_s,
            result.sample_rate_hz,
            result.channels,
            result.samples,
        )

    types = {one: audio.CONTENT_TYPES[one] for one in formats}
    return Track(
        name,
        group,
        formats=types,
        default_format=formats[0],
        archived=(),
        file_stem=name,
        make=make,
        channels=channels,
        duration_s=result.duration_s,
        song=song,
    )
