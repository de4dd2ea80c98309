"""`GET /files`: the uploads of the caller, newest first."""

import re

from flask import Response, g, request

from studio.errors import InvalidOption, NotListed, UnknownFile
from studio.storage.uploads import Entry, UnreadableRecord
from studio.web import answers, schemas
from studio.web.operations import Parameter, operation
from studio.web.views import Views, answer

FILES_PER_PAGE = 50
# When an upload arrived, and its ID: this also works if the upload has been deleted meanwhile.
_POSITION = re.compile(r"([0-9]{1,12}\.[0-9]{1,9})-([0-9a-f]{32})")


class ListViews(Views):
    """Lists uploads."""

    @operation(
        name="list_files",
        tag="files",
        summary="List your uploads, newest first; on servers with API keys only",
        answers={200: schemas.FileList},
        parameters=(
            Parameter(
                "before",
                "List the uploads before this position, as the link `next` does.",
                {"type": "string", "maxLength": 64},
            ),
        ),
        errors=(NotListed,),
    )
    def list_files(self) -> Response:
        if g.owner is None:
            raise NotListed(
                "This server has no API keys, so it cannot tell whose uploads are whose, and lists "
                "none. Keep the file_id that POST /upload returns."
            )
        entries = self._storage.of_owner(g.owner)
        before = request.args.get("before")
        begin = _position(before) if before is not None else (float("inf"), "")
        rest = [entry for entry in entries if entry < begin]
        page = rest[:FILES_PER_PAGE]
        has_more = len(rest) > len(page)
        return answer(
            schemas.FileList(
                files=self._described([file_id for _, file_id in page]),
                files_total=len(entries),
                next=f"/files?before={page[-1][0]:.9f}-{page[-1][1]}" if has_more else None,
                quota=self._quota(g.owner),
            )
        )

    def _quota(self, owner: str) -> schemas.Quota:
        quota, client = self._services.quota, self._services.access.caller()
        used_bytes, max_bytes = quota.used_bytes(owner) or (None, None)
        worked_min, max_min = quota.worked_min(client) or (None, None)
        return schemas.Quota(
            used_bytes=used_bytes, max_bytes=max_bytes, worked_min=worked_min, max_min=max_min
        )

    def _described(self, file_ids: list[str]) -> list[schemas.ListedFile]:
        # In order of their start, so that the latest one stays.
        jobs = {job.request.file_id: job for job in self._store.current(file_ids)}
        listed = []
        for file_id in file_ids:
            try:
                upload = self._storage.upload(file_id)
            except (UnknownFile, UnreadableRecord):
                # It has been deleted or damaged meanwhile.
                continue
            job = jobs.get(file_id)
            listed.append(
                schemas.ListedFile(
                    **answers.uploaded(upload).model_dump(),
                    created_at=answers.time_of(upload.created_at),
                    status=job.state.value if job else "uploaded",
                )
            )
        return listed


def _position(before: str) -> Entry:
    match = _POSITION.fullmatch(before)
    if match is None:
        raise InvalidOption(
            f"`before` is {before!r}, which is not a position in the list. Use the link `next`."
        )
    return float(match[1]), match[2]
