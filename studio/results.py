"""What a job produces: a typed result, and tracks that can be downloaded in several formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from studio import audio
from studio.errors import ResultsGone
from studio.storage.files import Storage
from studio.storage.on_demand import check_wanted


class Result(BaseModel):
    """What a completed job says of its results; kept as JSON in the job's record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """The fields that were set, as JSON has them; `from_dict` reads them back."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls.model_validate(data)


class SoundResult(Result):
    """A result whose tracks are sounds of one length.

    They are kept as 32-bit float WAV; `gain` scales them for fixed-point formats.
    """

    format: str
    sample_rate_hz: int
    channels: int
    samples: int
    gain: float


@dataclass(frozen=True)
class TrackFolder:
    """The folder of a job's results, and the upload that they were made from."""

    storage: Storage
    path: Path
    upload: Path

    def existing(self, name: str) -> Path:
        """A file that the job wrote. Raises ResultsGone."""
        path = self.path / name
        if not path.is_file():
            raise ResultsGone(
                "The results of this job have been deleted from the server. Start the job again."
            )
        return path


MakeTrack = Callable[[TrackFolder, str], Path]
"""Returns the file of a track in a format; writes it first where it does not exist."""


@dataclass(frozen=True)
class Track:
    """A track of a completed job.

    `group` names what belongs together in an archive; `formats` maps formats to content types;
    `archived` are the formats in which an archive has it by default: none where it can be derived
    from other tracks. `file_stem` is the name of its files without the ending.
    """

    name: str
    group: str
    formats: Mapping[str, str]
    default_format: str
    archived: tuple[str, ...]
    file_stem: str
    make: MakeTrack

    def file_name(self, file_format: str) -> str:
        return f"{self.file_stem}.{file_format}"


@dataclass(frozen=True)
class Derivation:
    """How a sound is made of the WAV `base` of the same job: `write(folder, base, target)`."""

    base: str
    write: Callable[[TrackFolder, Path, Path], None]


def sound_track(
    name: str,
    group: str,
    result: SoundResult,
    file_stem: str | None = None,
    derivation: Derivation | None = None,
) -> Track:
    """A track of sound: a WAV that the job wrote, or one that is derived when first asked for."""
    stem = file_stem or name

    def master(folder: TrackFolder) -> Path:
        if derivation is None:
            return folder.existing(f"{stem}.wav")
        base = folder.existing(derivation.base)
        return folder.storage.add(
            folder.path,
            f"{stem}.wav",
            audio.most_bytes(base, "wav"),
            lambda path: derivation.write(folder, base, path),
        )

    def make(folder: TrackFolder, file_format: str) -> Path:
        wav = master(folder)
        if file_format == "wav":
            return wav
        return folder.storage.add(
            folder.path,
            f"{stem}.{file_format}",
            audio.most_bytes(wav, file_format),
            lambda path: audio.encode(
                wav, path, file_format, result.gain, lambda _: check_wanted()
            ),
        )

    archived = () if derivation else (result.format,)
    return Track(name, group, audio.CONTENT_TYPES, result.format, archived, stem, make)
