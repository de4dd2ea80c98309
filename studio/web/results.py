"""The base of the views of results, with the parameters and errors that they share."""

from flask import request

from studio.audio import FINE, PEAKS_FORMATS
from studio.audio.lyrics import MAX_OFFSET_MS, parse_offset_ms
from studio.errors import (
    DiskFull,
    InvalidLink,
    InvalidOption,
    NotReady,
    ResultsGone,
    StorageUnavailable,
    TooManyConversions,
    UnknownFile,
    UnknownFormat,
    UnknownTrack,
)
from studio.jobs.job import Job
from studio.results import PEAKS, Track, TrackFolder
from studio.storage.results import StoredFile
from studio.storage.uploads import Upload
from studio.web import answers
from studio.web.operations import Parameter
from studio.web.views import POLL_AFTER_S, Views

SAMPLES_PER_PIXEL = Parameter(
    answers.ZOOM,
    f"Samples for each pair of values of the format peaks; {FINE} if it is left out.",
    # Without a default, which generated clients would send for other formats, too.
    {"type": "integer", "enum": list(PEAKS_FORMATS)},
)
OFFSET = Parameter(
    "offset_ms",
    "Show the words this many milliseconds later, or earlier if negative; 0 if it is left out.",
    {"type": "integer", "minimum": -MAX_OFFSET_MS, "maximum": MAX_OFFSET_MS},
)
RANGE = Parameter(
    "Range",
    "A single byte range. Multiple ranges and other units get the whole file.",
    {"type": "string"},
    "header",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "ETag of an existing copy.", {"type": "string"}, "header"
)
TRACK_ERRORS = (
    InvalidLink,
    UnknownFormat,
    UnknownFile,
    UnknownTrack,
    NotReady,
    ResultsGone,
    TooManyConversions,
    DiskFull,
    StorageUnavailable,
)


def samples_per_pixel(file_format: str) -> int:
    """The zoom level of waveform data that the current request asks for.

    Raises InvalidOption, also if it asks for one of another format.
    """
    asked = request.args.get(SAMPLES_PER_PIXEL.name)
    if asked is None:
        return FINE
    zooms = {str(zoom): zoom for zoom in PEAKS_FORMATS}
    if file_format != PEAKS or asked not in zooms:
        raise InvalidOption(
            f"`{SAMPLES_PER_PIXEL.name}` is {asked!r} for the format {file_format!r}; it must "
            f"be {' or '.join(zooms)}, for the format {PEAKS!r}."
        )
    return zooms[asked]


def offset_ms(track: Track) -> int:
    """The offset of the words that the current request asks for, in milliseconds.

    Raises InvalidOption if the value is invalid or the track has no words.
    """
    asked = request.args.get(OFFSET.name)
    if asked is None:
        return 0
    if track.delayed is None:
        raise InvalidOption(
            f"`{OFFSET.name}` is {asked[:50]!r} for the track {track.name!r}, which has no words. "
            "Leave it out, or download a transcript."
        )
    return parse_offset_ms(asked)


class ResultViews(Views):
    """Finds the tracks of uploads, and makes their formats on demand."""

    def _joined(self, upload: Upload, jobs: list[Job]) -> tuple[Job, Track]:
        """The file that joins all stems. Raises NotReady or UnknownTrack."""
        joined = self._answers.joined(jobs)
        if joined is not None:
            return joined
        if not self._answers.track_names(jobs):
            raise self._not_ready(upload, jobs)
        raise UnknownTrack("No job has separated this file into stems.")

    def _track(self, upload: Upload, name: str) -> tuple[Job, Track]:
        """A track from the latest completed job that has it. Raises NotReady or UnknownTrack."""
        jobs = self._store.of_file(upload.file_id)
        for job in jobs:
            for track in self._models.tracks(job):
                if track.name == name:
                    return job, track
        known = self._answers.track_names(jobs)
        if not known or not jobs[0].state.is_final:
            raise self._not_ready(upload, jobs)
        raise UnknownTrack(f"The track {name!r} does not exist. Available: {', '.join(known)}.")

    def _file(
        self, upload: Upload, job: Job, track: Track, file_format: str, later_ms: int = 0
    ) -> StoredFile:
        """The file of a track, made for the current request if it does not exist."""
        folder = self._folder(upload, job)
        with self._request():
            return track.in_format(folder, file_format, later_ms)

    def _folder(self, upload: Upload, job: Job) -> TrackFolder:
        return TrackFolder.of(self._storage, upload, job)

    def _starts(self, upload: Upload, option: str) -> str:
        """The requests that start a job of a model with an option, for error messages."""
        options = self._models.options()
        models = [name for name, kind in options.items() if option in kind.model_fields]
        return " or ".join(f"POST /process/{one}/{upload.file_id}" for one in models)

    def _not_ready(self, upload: Upload, jobs: list[Job]) -> NotReady:
        """The error if there is nothing to download."""
        if jobs and not jobs[0].state.is_final:
            return NotReady(
                f"The job is still {jobs[0].state}. Wait until it has ended: GET "
                f"/status/{upload.file_id}.",
                retry_after_s=POLL_AFTER_S,
            )
        model = "".join(self._models.names_for(upload)[:1])
        return NotReady(
            "This file has no results"
            + (f"; its last job {jobs[0].state}" if jobs else "")
            + f". Start a job: POST /process/{model}/{upload.file_id}."
        )
