"""The routes for results: tracks, archives, and the list of tracks."""

from flask import Response, request
from zipstream import ZIP_STORED, ZipStream

from studio import audio
from studio.audio import FINE, PEAKS_FORMATS
from studio.audio.lyrics import MAX_OFFSET_MS, parse_offset_ms
from studio.errors import (
    DiskFull,
    InvalidLink,
    InvalidOption,
    NotReady,
    PreconditionFailed,
    RangeNotSatisfiable,
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
from studio.web import answers, schemas, sending
from studio.web.archive import entries
from studio.web.links import LINK
from studio.web.operations import TRACK, Parameter, operation
from studio.web.views import POLL_AFTER_S, Views, answer

FORMAT = Parameter(
    "format",
    "Format of the track. Default: the format of the job, or txt for a transcript. WAV is 32-bit "
    "float; peaks is waveform data in the JSON of BBC audiowaveform.",
    is_format=True,
)
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
ARCHIVE_FORMAT = Parameter(
    "format",
    "Include only tracks that are available in this format. Default: audio in the format of its "
    "job, and transcripts in all formats.",
    is_format=True,
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


class TrackViews(Views):
    """The views of results. They read the store and the disk, and make formats on demand."""

    @operation(
        name="download_track",
        tag="tracks",
        summary="Download a track (audio or text); supports Range and ETag",
        answers={200: TRACK, 206: TRACK, 304: None},
        parameters=(FORMAT, SAMPLES_PER_PIXEL, OFFSET, LINK, RANGE, IF_NONE_MATCH),
        errors=(*TRACK_ERRORS, PreconditionFailed, RangeNotSatisfiable),
        rate="none",
    )
    def download(self, file_id: str, track: str) -> Response:
        upload = self._upload(file_id)
        job, found = self._track(upload, track)
        file_format = request.args.get("format", found.default_format)
        if file_format not in found.formats:
            raise UnknownFormat(
                f"The track {track!r} is not available as {file_format!r}, only as "
                f"{', '.join(found.formats)}."
            )
        return self._send(upload, job, found, file_format)

    @operation(
        name="download_stems",
        tag="tracks",
        summary="Download all stems as one file with two channels for each",
        answers={200: TRACK, 206: TRACK, 304: None},
        parameters=(LINK, RANGE, IF_NONE_MATCH),
        errors=(*TRACK_ERRORS, PreconditionFailed, RangeNotSatisfiable),
        rate="none",
    )
    def stems(self, file_id: str, file_format: str) -> Response:
        upload = self._upload(file_id)
        job, track = self._joined(upload, self._store.of_file(file_id))
        if file_format not in track.formats:
            reason = ""
            if file_format in audio.CONTENT_TYPES:
                reason = f", because they have {len(track.channels)} channels"
            raise UnknownFormat(
                f"The stems are not available as one {file_format!r} file{reason}, only as "
                f"{', '.join(track.formats)}."
            )
        return self._send(upload, job, track, file_format)

    def _joined(self, upload: Upload, jobs: list[Job]) -> tuple[Job, Track]:
        """The file that joins all stems. Raises NotReady or UnknownTrack."""
        found = self._answers.joined(jobs)
        if found is not None:
            return found
        if not self._answers.track_names(jobs):
            raise self._not_ready(upload, jobs)
        raise UnknownTrack("No job has separated this file into stems.")

    def _send(self, upload: Upload, job: Job, track: Track, file_format: str) -> Response:
        """The file of a track, or a part of it, made first if it does not exist."""
        zoom, later_ms = samples_per_pixel(file_format), offset_ms(track)
        is_peaks = file_format == PEAKS
        extension = track.zooms[zoom] if is_peaks else file_format
        file = self._file(upload, job, track, extension, later_ms)
        name = answers.download_name(
            upload, track.name, f"{PEAKS}.json" if is_peaks else file_format
        )
        return sending.send(file, track.formats[file_format], name)

    @operation(
        name="download_archive",
        tag="tracks",
        summary="Download the tracks as one ZIP, without those derived from other tracks",
        answers={200: "application/zip"},
        parameters=(ARCHIVE_FORMAT, LINK),
        errors=TRACK_ERRORS,
        rate="none",
    )
    def archive(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        jobs = self._store.of_file(file_id)
        if not self._answers.track_names(jobs):
            raise self._not_ready(upload, jobs)
        archive = ZipStream(compress_type=ZIP_STORED, sized=True)
        kind, files = entries(jobs, self._models.tracks, request.args.get("format"))
        for one in files:
            file = self._file(upload, one.job, one.track, one.file_format)
            name = answers.download_name(upload, one.track.name, one.file_format)
            archive.add_path(str(file.path), name)
        response = Response(archive, mimetype="application/zip")
        response.content_length = len(archive)
        name = answers.download_name(upload, kind, "zip")
        response.headers["Content-Disposition"] = answers.disposition(name)
        return response

    def _file(
        self, upload: Upload, job: Job, track: Track, file_format: str, later_ms: int = 0
    ) -> StoredFile:
        """The file of a track, made for the current request if it does not exist."""
        folder = self._folder(upload, job)
        with self._request():
            return track.in_format(folder, file_format, later_ms)

    def _folder(self, upload: Upload, job: Job) -> TrackFolder:
        return TrackFolder.of(self._storage, upload, job)

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

    @operation(
        name="list_tracks",
        tag="tracks",
        summary="List the tracks of a file, with formats, sizes and URLs",
        answers={200: schemas.Files},
        errors=(UnknownFile,),
    )
    def files(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        return answer(self._answers.files(upload, self._store.of_file(file_id), self._storage))
