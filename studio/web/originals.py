"""`GET /download/<file_id>/original`: the upload, its MP3 and its waveform, for players."""

from pathlib import PurePath

from flask import Response, request

from studio.audio import CONTENT_TYPES, MEDIA_TYPES, PEAKS_TYPE
from studio.errors import (
    DiskFull,
    InvalidLink,
    InvalidOption,
    NotAudio,
    PreconditionFailed,
    RangeNotSatisfiable,
    ResultsGone,
    StorageUnavailable,
    TooManyConversions,
    UnknownFile,
    UnknownFormat,
)
from studio.results import PEAKS
from studio.sources import upload_mp3, upload_peaks
from studio.web import sending
from studio.web.links import LINK
from studio.web.operations import Parameter, operation
from studio.web.results import IF_NONE_MATCH, RANGE, SAMPLES_PER_PIXEL, samples_per_pixel
from studio.web.views import Views

NAME = "original"
MP3 = "mp3"
FORMAT = Parameter(
    "format",
    "Audio in another format instead of the file: mp3, or peaks, its waveform data.",
    {"type": "string", "enum": [MP3, PEAKS]},
)
BYTES = "application/octet-stream"
# None that browsers take for a page or a script.
TYPES = {**MEDIA_TYPES, "txt": "text/plain"}
# An upload has the type of its extension.
ANY_TYPE = f"*/*, {PEAKS_TYPE}"


class OriginalViews(Views):
    """Sends uploads back, as they are or as players need them."""

    @operation(
        name="download_original",
        tag="tracks",
        summary="Download the uploaded file, its MP3 or its waveform data; supports Range and ETag",
        answers={200: ANY_TYPE, 206: ANY_TYPE, 304: None},
        parameters=(FORMAT, SAMPLES_PER_PIXEL, LINK, RANGE, IF_NONE_MATCH),
        errors=(
            InvalidLink,
            InvalidOption,
            UnknownFormat,
            UnknownFile,
            NotAudio,
            PreconditionFailed,
            RangeNotSatisfiable,
            ResultsGone,
            TooManyConversions,
            DiskFull,
            StorageUnavailable,
        ),
        rate="none",
    )
    def original(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        file_format = request.args.get(FORMAT.name)
        zoom = samples_per_pixel(file_format or upload.file_type)
        if file_format is None:
            name = PurePath(upload.filename).name
            media_type = TYPES.get(upload.file_type, BYTES)
            return sending.send(self._storage.source(upload), media_type, name)
        if file_format not in (MP3, PEAKS) or upload.sound is None:
            raise UnknownFormat(
                f"The upload is not available as {file_format!r}. Leave out `{FORMAT.name}` to get "
                f"the file itself, or ask for {MP3!r} or {PEAKS!r} of audio."
            )
        with self._request():
            if file_format == MP3:
                file = upload_mp3(self._storage, upload)
            else:
                file = upload_peaks(self._storage, upload, zoom)
        media_type = CONTENT_TYPES.get(file_format, PEAKS_TYPE)
        extension = f"{PEAKS}.json" if file_format == PEAKS else file_format
        return sending.send(file, media_type, sending.download_name(upload, NAME, extension))
