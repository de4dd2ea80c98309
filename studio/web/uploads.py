"""The routes that take files and delete them."""

from flask import Response

from studio.errors import (
    AudioTooLong,
    AudioTruncated,
    AudioUnsupported,
    BadFilename,
    BadRequest,
    DiskFull,
    EmptyFile,
    FileTooLarge,
    NoFile,
    NotAudio,
    QuotaExceeded,
    StorageUnavailable,
    TextUnreadable,
    TooManyUploads,
    UnknownFile,
    UnsupportedFileType,
    UnsupportedMediaType,
    UploadTooSlow,
)
from studio.web import answers, receiving, schemas
from studio.web.operations import operation
from studio.web.views import Views, answer


class UploadViews(Views):
    """Takes uploads, and deletes them with their results."""

    @operation(
        name="upload_file",
        tag="files",
        summary="Upload a file",
        answers={201: schemas.Uploaded},
        body={
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
        errors=(
            BadRequest,
            NoFile,
            EmptyFile,
            BadFilename,
            UnsupportedFileType,
            NotAudio,
            AudioTooLong,
            AudioTruncated,
            AudioUnsupported,
            TextUnreadable,
            UnsupportedMediaType,
            FileTooLarge,
            TooManyUploads,
            UploadTooSlow,
            QuotaExceeded,
            DiskFull,
            StorageUnavailable,
        ),
        rate="work",
    )
    def upload(self) -> Response:
        upload = receiving.receive(self._services)
        return answer(answers.uploaded(upload), 201, Location=f"/files/{upload.file_id}")

    @operation(
        name="delete_file",
        tag="files",
        summary="Delete a file and its results; unfinished jobs are canceled first",
        answers={200: schemas.Deleted},
        errors=(UnknownFile, DiskFull, StorageUnavailable),
    )
    def cleanup(self, file_id: str) -> Response:
        self._upload(file_id)
        self._services.intake.remove(file_id)
        return answer(
            schemas.Deleted(file_id=file_id, message="The file and its results have been deleted.")
        )
