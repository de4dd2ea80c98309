"""`PUT` and `DELETE /files/<file_id>/<track>`: edited tracks, kept beside the original."""

from flask import Response, g, request

from studio.errors import (
    DiskFull,
    FileTooLarge,
    InvalidJson,
    InvalidOption,
    NotEditable,
    NotReady,
    PreconditionFailed,
    PreconditionRequired,
    QuotaExceeded,
    ResultsGone,
    StorageUnavailable,
    TooManyConversions,
    UnknownFile,
    UnknownOption,
    UnknownTrack,
    UnsupportedMediaType,
)
from studio.jobs.job import Job
from studio.results import Editing, Track
from studio.storage.results import StoredFile
from studio.storage.uploads import Upload
from studio.web import receiving, schemas, sending
from studio.web.operations import Parameter, operation
from studio.web.results import ResultViews
from studio.web.views import answer

# The words of six hours of speech, with times.
MAX_BYTES = 16 << 20
FORMAT = "json"
IF_MATCH = Parameter(
    "If-Match",
    "ETag of the track in the format json, as it was read before editing. `*`: any.",
    {"type": "string"},
    "header",
)
EDIT_ERRORS = (
    UnknownFile,
    UnknownTrack,
    NotReady,
    NotEditable,
    ResultsGone,
    PreconditionFailed,
    PreconditionRequired,
    TooManyConversions,
    DiskFull,
    StorageUnavailable,
)


class EditViews(ResultViews):
    """Editing tracks. One edit at a time, so that none overwrites another unseen."""

    @operation(
        name="edit_track",
        tag="tracks",
        summary="Keep an edited transcript; all formats are then made from it",
        answers={200: schemas.Edited},
        parameters=(IF_MATCH,),
        body={"application/json": {"schema": {"type": "object"}}},
        errors=(
            *EDIT_ERRORS,
            InvalidJson,
            InvalidOption,
            UnknownOption,
            UnsupportedMediaType,
            FileTooLarge,
            QuotaExceeded,
        ),
    )
    def edit(self, file_id: str, track: str) -> Response:
        return self._change(file_id, track, is_edit=True)

    @operation(
        name="restore_track",
        tag="tracks",
        summary="Delete the edited transcript and return to the original",
        answers={200: schemas.Edited},
        parameters=(IF_MATCH,),
        errors=EDIT_ERRORS,
    )
    def restore(self, file_id: str, track: str) -> Response:
        return self._change(file_id, track, is_edit=False)

    def _change(self, file_id: str, name: str, *, is_edit: bool) -> Response:
        """Save the body as an edited version, or delete the edited version."""
        self._editable(file_id, name)
        if "If-Match" not in request.headers:
            raise PreconditionRequired(
                "Send the ETag of the transcript that you have edited (GET "
                f"/download/{file_id}/{name}?format={FORMAT}) as `If-Match`."
            )
        data = b""
        if is_edit:
            self._services.quota.check_bytes(g.owner, request.content_length or 0)
            data = receiving.body_bytes()
        with self._store.editing(file_id):
            # While the body arrived, a later job may have taken the place of the first one.
            upload, job, track, editing = self._editable(file_id, name)
            self._check_unchanged(self._json(upload, job, track))
            folder = self._folder(upload, job)
            if is_edit:
                # One at a time, because a parsed body is large.
                editing.save(folder, receiving.parsed_json(data))
            else:
                editing.restore(folder)
            etag = sending.etag_of(self._json(upload, job, track))
        changed = schemas.Edited(file_id=file_id, track=name, job_id=job.job_id, edited=is_edit)
        return answer(changed, ETag=f'"{etag}"')

    def _editable(self, file_id: str, name: str) -> tuple[Upload, Job, Track, Editing]:
        """A track that can be edited. Raises NotEditable, and the errors of `_track`."""
        upload = self._upload(file_id)
        job, track = self._track(upload, name)
        if track.editing is None:
            raise NotEditable(f"The track {name!r} cannot be edited; only transcripts can.")
        return upload, job, track, track.editing

    def _json(self, upload: Upload, job: Job, track: Track) -> StoredFile:
        return self._file(upload, job, track, FORMAT)

    def _check_unchanged(self, file: StoredFile) -> None:
        etag = sending.etag_of(file)
        # Proxies that compress a transcript make its ETag weak.
        if not request.if_match.contains_weak(etag):
            raise PreconditionFailed(
                f'The transcript has changed: its ETag is "{etag}", which is not in If-Match. '
                "Read it again and repeat your changes."
            )
