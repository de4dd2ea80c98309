"""What a separation produced, and its tracks.

Beside the stems there is `no_S` for each stem S: the mixture minus S, so that both add up to the
mixture. `instrumental` is another name of `no_vocals`.
"""

from contextlib import closing
from pathlib import Path

from pydantic import Field

from studio import audio
from studio.results import (
    Derivation,
    ModelResult,
    SoundResult,
    Track,
    TrackFolder,
    joined_track,
    sound_track,
)
from studio.storage.on_demand import check_wanted
from studio.storage.results import StoredFile

INSTRUMENTAL = "instrumental"
WITHOUT = "no_"
GROUP = "stems"
# The generated track that was separated, in the folder of its stems.
MIXTURE = "mixture.wav"


class SeparationResult(ModelResult, SoundResult):
    """Stems, and what made them. `source` names the track that was separated, if it was one."""

    stems: list[str] = Field(examples=[["drums", "bass", "other", "vocals"]])
    source: str | None = None


def tracks_of(result: SeparationResult) -> list[Track]:
    """The stems, and what remains of the mixture without each of them."""
    stems = [sound_track(stem, GROUP, result) for stem in result.stems]
    rest = [_without(f"{WITHOUT}{stem}", stem, result) for stem in result.stems]
    if "vocals" in result.stems:
        rest.append(_without(INSTRUMENTAL, "vocals", result))
    return stems + rest


def joined(result: SeparationResult) -> Track:
    """All stems as one file, in the order of `result.stems`."""
    return joined_track(GROUP, GROUP, result.stems, result, lambda folder: _mixture(folder, result))


def _mixture(folder: TrackFolder, result: SeparationResult) -> StoredFile:
    """The recording that was separated."""
    return folder.files.file(MIXTURE) if result.source else folder.upload


def _without(name: str, stem: str, result: SeparationResult) -> Track:
    def write(folder: TrackFolder, base: StoredFile, target: Path) -> None:
        _write_rest(target, _mixture(folder, result).path, base.path, result)

    derivation = Derivation(f"{stem}.wav", write)
    return sound_track(name, GROUP, result, f"{WITHOUT}{stem}", derivation)


def _write_rest(target: Path, mixture: Path, stem: Path, result: SeparationResult) -> None:
    """Write the mixture minus a stem."""
    rate_hz, channels = result.sample_rate_hz, result.channels
    with (
        closing(audio.decode(mixture, rate_hz, channels, result.duration_s)) as blocks,
        audio.SoundWriter(target, "wav", rate_hz, channels, result.samples) as writer,
    ):
        for whole, part in zip(blocks, audio.read_blocks(stem), strict=True):
            check_wanted()
            writer.write(whole - part)
