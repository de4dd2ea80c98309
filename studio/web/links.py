"""`/links`: addresses of downloads that need no key, for `<audio src>` and `<a download>`.

A link is the address of a download with the parameter `link`: a ticket for this path and the owner
of the file. Other parameters, such as the format, may be added to it.
"""

from urllib.parse import quote

from flask import Response, current_app, request
from pydantic import Field
from werkzeug.exceptions import HTTPException

from studio.errors import (
    FileTooLarge,
    InvalidJson,
    InvalidLink,
    InvalidOption,
    UnknownFile,
    UnknownOption,
    UnknownTrack,
    UnsupportedMediaType,
)
from studio.jobs.body import StrictBody, parse_body
from studio.storage.storage import Storage
from studio.storage.uploads import UnreadableRecord
from studio.web import receiving, schemas
from studio.web.access import Access, asked_operation
from studio.web.answers import time_of
from studio.web.operations import Operation, Parameter, operation
from studio.web.services import Services
from studio.web.tickets import Tickets
from studio.web.views import Views, answer

PURPOSE = "link"
MAX_MINUTES = 24 * 60
LINK = Parameter(
    "link",
    "A ticket from POST /links, instead of an API key.",
    {"type": "string", "maxLength": 200},
)
"""The parameter of every operation that a link may lead to."""


_INVALID = (
    "The link is not valid for this address: it was made for another file or track, or the file or "
    "its API key no longer exists. Get a new one with POST /links."
)


class LinkOptions(StrictBody):
    """The download that a link leads to. Links to files of others cannot be made."""

    file_id: str = Field(max_length=64, description="ID of an upload.")
    track: str = Field(
        max_length=200,
        description="Name of a track, or original, stems.flac, stems.wav or all.zip.",
        examples=["vocals"],
    )
    minutes: int = Field(
        60, ge=1, le=MAX_MINUTES, description="Minutes after which the link expires."
    )


class Links:
    """Recognises the owner of the current request by its link."""

    def __init__(self, tickets: Tickets, access: Access, storage: Storage) -> None:
        self._tickets = tickets
        self._access = access
        self._storage = storage

    def owner(self) -> str | None:
        """The owner, or None if the request has no link. Raises InvalidLink."""
        ticket = request.args.get(LINK.name)
        asked = asked_operation()
        if ticket is None or asked is None or not takes_link(asked):
            return None
        file_id = (request.view_args or {}).get("file_id", "")
        try:
            owner = self._storage.upload(file_id).owner
        except (UnknownFile, UnreadableRecord):
            # Strangers must not find out which files exist.
            owner = None
        if owner is None or owner not in self._access.owners:
            raise InvalidLink(_INVALID)
        expires_at = self._tickets.expires_at(ticket, PURPOSE, owner, request.path)
        if expires_at is None:
            raise InvalidLink(_INVALID)
        if not self._tickets.is_valid(ticket, PURPOSE, owner, request.path):
            raise InvalidLink(
                f"The link expired at {time_of(expires_at)}. Get a new one with POST /links."
            )
        return owner


class LinkViews(Views):
    """Makes links."""

    def __init__(self, services: Services, tickets: Tickets) -> None:
        super().__init__(services)
        self._tickets = tickets

    @operation(
        name="create_link",
        tag="access",
        summary="Create an address of a download that works without a key for some minutes",
        answers={200: schemas.Link},
        body=LinkOptions,
        errors=(
            InvalidJson,
            UnknownOption,
            InvalidOption,
            UnknownFile,
            UnknownTrack,
            UnsupportedMediaType,
            FileTooLarge,
        ),
    )
    def create_link(self) -> Response:
        options = parse_body(LinkOptions, receiving.json_body())
        upload = self._upload(options.file_id)
        path = f"/download/{upload.file_id}/{options.track}"
        known = self._answers.track_names(self._store.of_file(upload.file_id))
        if not self._is_download_path(path, known):
            raise UnknownTrack(
                f"The track {options.track!r} does not exist. Available: "
                f"{', '.join([*known, 'original', 'stems.flac', 'stems.wav', 'all.zip'])}."
            )
        ticket, expires_at = self._tickets.issue(
            PURPOSE, upload.owner or "", path, lifetime_s=60 * options.minutes
        )
        return answer(
            schemas.Link(url=f"{quote(path)}?{LINK.name}={ticket}", expires_at=time_of(expires_at))
        )

    def _is_download_path(self, path: str, known: list[str]) -> bool:
        """Whether a path is that of a download: of one of the `known` tracks, or of several."""
        try:
            endpoint, arguments = current_app.url_map.bind("").match(path, method="GET")
        except HTTPException:
            return False
        asked = getattr(current_app.view_functions[endpoint], "operation", None)
        return (
            asked is not None
            and takes_link(asked)
            and ("track" not in arguments or arguments["track"] in known)
        )


def takes_link(asked: Operation) -> bool:
    """Whether a link may lead to an operation."""
    return LINK in asked.parameters
