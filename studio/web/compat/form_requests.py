"""Takes files from requests of other programs: forms with any other fields."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import g, request

from studio.errors import UnsupportedMediaType
from studio.storage.incoming import IncomingFile
from studio.storage.uploads import Upload
from studio.web.compat.blocking_jobs import BlockingJobs
from studio.web.forms import FIELD, UploadForm
from studio.web.receiving import check_size, read_form
from studio.web.services import Services


@dataclass(frozen=True)
class ReceivedFile:
    """A file that has arrived, and the text fields that came with it, by name."""

    incoming: IncomingFile
    filename: str
    fields: dict[str, list[str]] = field(default_factory=dict)

    def field(self, name: str) -> str | None:
        """The last value of a text field, also if it was sent as `name[]`; None if it is empty."""
        values = [*self.fields.get(name, []), *self.fields.get(f"{name}[]", [])]
        return (values[-1] if values else "") or None


class FormRequests:
    """Where the routes of a protocol take files and get results."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.jobs = BlockingJobs(services)

    @contextmanager
    def receive_form(self, file_field: str = FIELD) -> Iterator[ReceivedFile]:
        """Receive the form of the current request, with its file in `file_field`.

        The file is deleted at the end of the block, unless it was kept. Reserve a slot to wait
        first. Raises the errors of an upload.
        """
        services = self._services
        check_size(services.uploads.max_bytes)
        request.max_content_length = services.uploads.max_bytes
        if request.mimetype != "multipart/form-data":
            raise UnsupportedMediaType(
                f"The content type is {request.mimetype!r}. Send the file as multipart/form-data "
                f"in the field {file_field!r}."
            )
        form = UploadForm(
            services.storage,
            request.max_form_memory_size,
            request.max_form_parts,
            file_field,
            keeps_text=True,
        )
        try:
            with services.uploads.slot(self.client):
                incoming = read_form(services, form)
            yield ReceivedFile(incoming, form.filename, form.fields)
        finally:
            if form.incoming is not None:
                services.storage.discard(form.incoming)

    @contextmanager
    def new_file(self) -> Iterator[IncomingFile]:
        """A file to write. It is deleted at the end of the block, unless it was kept."""
        incoming = self._services.storage.receive()
        try:
            yield incoming
        finally:
            self._services.storage.discard(incoming)

    def keep(self, received: ReceivedFile) -> Upload:
        """The temporary upload with the content of the file; see `BlockingJobs.keep`."""
        return self.jobs.keep(received.incoming, received.filename, g.owner)

    @property
    def client(self) -> str:
        """The client of the current request."""
        return self._services.access.caller()
