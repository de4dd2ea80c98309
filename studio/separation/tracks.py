"""The tracks of a separation: its stems, what is left without one, and their formats.

`no_S` is the mixture minus stem S, so that both together are the song again; `instrumental` is
another name of `no_vocals`. They and other formats are made when first asked for, and kept.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from studio import audio
from studio.audio import SoundWriter
from studio.errors import ResultsGone, UnknownTrack
from studio.jobs.job import Job
from studio.jobs.store import JobStore
from studio.storage.files import Storage
from studio.storage.on_demand import check_wanted

INSTRUMENTAL = "instrumental"
WITHOUT = "no_"
# The generated track that was separated, in the folder of its stems.
MIXTURE = "mixture.wav"


def separation_of(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """The description of the stems in a job's result, which may be part of another work's."""
    found: dict[str, Any] = result or {}
    return found if "stems" in found else found.get("separation")


def stem_there(
    storage: Storage, store: JobStore, file_id: str, stem: str, variant: str | None
) -> tuple[Job, Path] | None:
    """The latest job that separated a stem of a file (with a variant), and the stem's file."""
    for job in store.of_file(file_id):
        separation = separation_of(job.result)
        if not separation or stem not in separation["stems"]:
            continue
        path = storage.result(file_id, job.job_id) / f"{stem}.wav"
        used = separation.get("variant", job.request.variant)
        if path.is_file() and variant in (None, used):
            return job, path
    return None


def names(result: dict[str, Any]) -> list[str]:
    """All tracks that can be had from a separation's result."""
    stems = list(result["stems"])
    rest = [f"{WITHOUT}{stem}" for stem in stems]
    return stems + rest + ([INSTRUMENTAL] if "vocals" in stems else [])


def file_of(
    storage: Storage,
    folder: Path,
    result: dict[str, Any],
    track: str,
    audio_format: str,
    source: Path,
) -> Path:
    """The file of a track in a format, made if need be. Raises UnknownTrack or ResultsGone.

    `folder` holds the job's results, `source` is the upload that they were made from; where they
    were made from another track, that lies beside them.
    """
    if track not in names(result):
        raise UnknownTrack(f"There is no track {track!r}; there are {', '.join(names(result))}.")
    name = f"{WITHOUT}vocals" if track == INSTRUMENTAL else track
    stem = folder / f"{name.removeprefix(WITHOUT)}.wav"
    if not stem.is_file():
        raise ResultsGone(
            "The results of this job were removed from the server's disk. Start the job again."
        )
    if result.get("source"):
        source = folder / MIXTURE
    master = stem
    if name not in result["stems"]:
        master = storage.add(
            folder,
            f"{name}.wav",
            audio.most_bytes(stem, "wav"),
            lambda path: _write_rest(path, source, stem, result),
        )
    if audio_format == "wav":
        return master
    return storage.add(
        folder,
        f"{name}.{audio_format}",
        audio.most_bytes(master, audio_format),
        lambda path: audio.encode(
            master, path, audio_format, result["gain"], lambda _: check_wanted()
        ),
    )


def _write_rest(path: Path, source: Path, stem: Path, result: dict[str, Any]) -> None:
    """Write the mixture minus a stem."""
    rate_hz, channels = result["sample_rate_hz"], result["channels"]
    with (
        closing(audio.decode(source, rate_hz, channels, result["duration_s"])) as mixture,
        SoundWriter(path, "wav", rate_hz, channels, result["samples"]) as writer,
    ):
        for whole, part in zip(mixture, audio.read_blocks(stem), strict=True):
            check_wanted()
            writer.write(whole - part)
