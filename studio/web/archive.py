"""Selects the content of the ZIP of a file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from studio.errors import UnknownFormat
from studio.jobs.job import Job
from studio.results import Track


@dataclass(frozen=True)
class Entry:
    """A file of an archive."""

    job: Job
    track: Track
    file_format: str


def entries(
    jobs: Iterable[Job], tracks_of: Callable[[Job], Sequence[Track]], file_format: str | None
) -> tuple[str, list[Entry]]:
    """The name and the entries of the archive of a file.

    `jobs` are newest first. Each group of tracks comes from the latest job that has it. If no
    format is requested, each track has its default archive formats. Raises UnknownFormat if no
    track has the requested format.
    """
    latest: dict[str, tuple[Job, list[Track]]] = {}
    for job in jobs:
        groups: dict[str, list[Track]] = {}
        for track in tracks_of(job):
            if track.archived:
                groups.setdefault(track.group, []).append(track)
        for group, tracks in groups.items():
            latest.setdefault(group, (job, tracks))
    files_of = {
        group: [Entry(job, track, one) for track in tracks for one in _formats(track, file_format)]
        for group, (job, tracks) in latest.items()
    }
    available = [group for group, files in files_of.items() if files]
    if not available:
        known = dict.fromkeys(one for _, tracks in latest.values() for one in tracks[0].formats)
        raise UnknownFormat(
            f"No track of this file is available as {file_format!r}. Available: {', '.join(known)}."
        )
    name = available[0] if len(available) == 1 else "all"
    return name, [entry for files in files_of.values() for entry in files]


def _formats(track: Track, file_format: str | None) -> Sequence[str]:
    if file_format is None:
        return track.archived
    return [file_format] if file_format in track.formats else []
