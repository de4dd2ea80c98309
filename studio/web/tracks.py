"""The routes for results: tracks, archives, and the list of tracks."""

from flask import Response, request
from zipstream import ZIP_STORED, ZipStream

from studio import audio
from studio.errors import PreconditionFailed, RangeNotSatisfiable, UnknownFile, UnknownFormat
from studio.jobs.job import Job
from studio.results import PEAKS, Track
from studio.storage.uploads import Upload
from studio.web import schemas, sending
from studio.web.archive import entries
from studio.web.links import LINK
from studio.web.operations import TRACK, Parameter, operation
from studio.web.results import (
    IF_NONE_MATCH,
    OFFSET,
    RANGE,
    SAMPLES_PER_PIXEL,
    TRACK_ERRORS,
    ResultViews,
    offset_ms,
    samples_per_pixel,
)
from studio.web.views import answer

FORMAT = Parameter(
    "format",
    "Format of the track. Default: the format of the job, or txt for a transcript. WAV is 32-bit "
    "float; peaks is waveform data in the JSON of BBC audiowaveform.",
    is_format=True,
)
ARCHIVE_FORMAT = Parameter(
    "format",
    "Include only tracks that are available in this format. Default: audio in the format of its "
    "job, and transcripts in all formats.",
    is_format=True,
)


class TrackViews(ResultViews):
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
        job, info = self._track(upload, track)
        file_format = request.args.get("format", info.default_format)
        if file_format not in info.formats:
            raise UnknownFormat(
                f"The track {track!r} is not available as {file_format!r}, only as "
                f"{', '.join(info.formats)}."
            )
        return self._send(upload, job, info, file_format)

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

    def _send(self, upload: Upload, job: Job, track: Track, file_format: str) -> Response:
        """The file of a track, or a part of it, made first if it does not exist."""
        zoom, later_ms = samples_per_pixel(file_format), offset_ms(track)
        is_peaks = file_format == PEAKS
        extension = track.zooms[zoom] if is_peaks else file_format
        file = self._file(upload, job, track, extension, later_ms)
        name = sending.download_name(
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
            name = sending.download_name(upload, one.track.name, one.file_format)
            archive.add_path(str(file.path), name)
        response = Response(archive, mimetype="application/zip")
        response.content_length = len(archive)
        sending.attach(response, sending.download_name(upload, kind, "zip"))
        return response

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
