"""`GET /download/<file_id>/original`: the upload itself, for players."""

import mimetypes
from pathlib import PurePath

from flask import Response

from studio.errors import (
    InvalidLink,
    PreconditionFailed,
    RangeNotSatisfiable,
    ResultsGone,
    StorageUnavailable,
    UnknownFile,
)
from studio.storage.files import Upload
from studio.web import sending
from studio.web.links import LINK
from studio.web.operations import operation
from studio.web.tracks import IF_NONE_MATCH, RANGE
from studio.web.views import Views

BYTES = "application/octet-stream"
# An upload has the type of its extension.
ANY_TYPE = "*/*"


class OriginalViews(Views):
    """Sends uploads back as they are."""

    @operation(
        name="download_original",
        tag="tracks",
        summary="Download the uploaded file; supports Range and ETag",
        answers={200: ANY_TYPE, 206: ANY_TYPE, 304: None},
        parameters=(LINK, RANGE, IF_NONE_MATCH),
        errors=(
            InvalidLink,
            UnknownFile,
            PreconditionFailed,
            RangeNotSatisfiable,
            ResultsGone,
            StorageUnavailable,
        ),
        rate="none",
    )
    def original(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        name = PurePath(upload.filename).name
        return sending.send(self._storage.source(upload), _media_type(upload), name)


def _media_type(upload: Upload) -> str:
    """The type of the extension, if browsers do not take it for a page or a script."""
    guessed = mimetypes.guess_type(f"source.{upload.file_type}")[0] or BYTES
    return guessed if guessed.startswith(("audio/", "video/")) or guessed == "text/plain" else BYTES
