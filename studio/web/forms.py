"""Reads the form of an upload as it arrives, and writes the file directly to storage."""

from typing import IO

from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Field, File, MultipartDecoder, NeedData, State

from studio.errors import BadFilename, BadRequest, NoFile
from studio.storage.incoming import IncomingFile
from studio.storage.storage import Storage

FIELD = "file"
# Below the limit of 500 kB on text fields, to which the decoder counts each piece of a file. Larger
# than usual, because gunicorn copies its read-ahead buffer for every piece.
PIECE_BYTES = 1 << 18
# Field names shown in the error for a form without a file.
SHOWN_NAMES = 5


class _Decoder(MultipartDecoder):
    """Decodes part headers that are not UTF-8 as Windows-1252.

    Some Windows programs write file names in the system's code page.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("cp1252", "replace").encode()
        return super()._parse_headers(data)


class UploadForm:
    """A form with one file in the field `file_field`, and text in the others.

    `incoming` is set as soon as the part of the file begins, even if `read` raises an error. The
    caller must accept or discard it. With `keeps_text`, `fields` has the values of the text fields
    by name.
    """

    def __init__(
        self,
        storage: Storage,
        max_text_bytes: int | None,
        max_parts: int | None,
        file_field: str = FIELD,
        keeps_text: bool = False,
    ) -> None:
        """`max_text_bytes` limits each text field, or all that are kept."""
        self.incoming: IncomingFile | None = None
        self.filename = ""
        self.fields: dict[str, list[str]] = {}
        self._wanted_field = file_field
        self._keeps_text = keeps_text
        self._text = bytearray()
        self._storage = storage
        self._max_text_bytes = max_text_bytes
        self._max_parts = max_parts
        self._file_field = ""
        self._text_fields: list[str] = []
        self._has_unused_input = False
        self._part: Field | File | None = None
        self._text_bytes = 0

    def read(self, stream: IO[bytes], boundary: str, length: int | None) -> IncomingFile:
        """Read the whole form and return its file. Raises BadRequest, BadFilename or NoFile.

        `length` is the declared length of the body in bytes, if any.
        """
        if not boundary or not boundary.isascii():
            raise BadRequest(
                "The Content-Type header has no valid boundary. Do not set this header yourself: "
                "your HTTP library adds it together with the boundary."
            )
        decoder = _Decoder(
            boundary.encode(), max_form_memory_size=self._max_text_bytes, max_parts=self._max_parts
        )
        received_bytes, is_whole = self._read_parts(stream, decoder)
        is_whole = is_whole and received_bytes >= (length or 0)
        if decoder.state is State.PREAMBLE and is_whole and received_bytes:
            raise _wrong_boundary(decoder)
        if decoder.state is not State.EPILOGUE and (received_bytes or not is_whole):
            raise BadRequest(
                f"The body ended after {received_bytes:,} bytes, before the end of the form. "
                "Upload the complete file again."
            )
        self._end_text()
        if self.incoming is not None and self._file_field == self._wanted_field:
            return self.incoming
        raise NoFile(self._no_file_message())

    def _read_parts(self, stream: IO[bytes], decoder: MultipartDecoder) -> tuple[int, bool]:
        """Read to the end. Returns the bytes received, and whether the body was complete."""
        received_bytes = 0
        try:
            while data := stream.read(PIECE_BYTES):
                received_bytes += len(data)
                decoder.receive_data(data)
                while not isinstance(event := decoder.next_event(), NeedData):
                    if isinstance(event, Field | File):
                        self._begin(event)
                    elif isinstance(event, Data):
                        self._take(event.data)
        except ClientDisconnected:
            return received_bytes, False
        except ValueError as error:
            raise BadRequest(f"A part of the form is malformed: {error}.") from None
        except RequestEntityTooLarge:
            # The decoder buffers everything before the first boundary.
            if decoder.state is State.PREAMBLE:
                raise _wrong_boundary(decoder) from None
            raise
        return received_bytes, True

    def _begin(self, part: Field | File) -> None:
        self._end_text()
        self._part = part
        if not self._keeps_text:
            self._text_bytes = 0
        # None for a part without a name.
        name = part.name or ""
        if isinstance(part, Field):
            self._text_fields.append(name)
        elif not part.filename:
            self._has_unused_input = True
        elif self.incoming is not None:
            raise BadRequest(
                "The form contains several files. Send one file per request, in the field "
                f"{self._wanted_field!r}."
            )
        else:
            self.filename, self._file_field = part.filename, name
            self.incoming = self._storage.receive()

    def _take(self, data: bytes) -> None:
        """Take the next bytes of the current part."""
        part = self._part
        if isinstance(part, Field):
            self._text_bytes += len(data)
            if self._max_text_bytes is not None and self._text_bytes > self._max_text_bytes:
                raise RequestEntityTooLarge
            if self._keeps_text:
                self._text += data
        elif isinstance(part, File) and part.filename:
            assert self.incoming is not None
            self.incoming.write(data)
        elif data:
            raise BadFilename("The file has no name. Give it a name with an extension.")

    def _end_text(self) -> None:
        """Keep the value of the text field that has just ended."""
        if self._keeps_text and isinstance(self._part, Field):
            value = self._text.decode("utf-8", "replace")
            self.fields.setdefault(self._part.name or "", []).append(value)
        self._part = None
        self._text.clear()

    def _no_file_message(self) -> str:
        wanted = self._wanted_field
        if wanted in self._text_fields:
            return f"The field {wanted!r} contains text, not a file. Send it with a file name."
        others = sorted({*self._text_fields, *([self._file_field] if self.incoming else [])})
        if others:
            reason = f"its fields are {', '.join(map(repr, others[:SHOWN_NAMES]))}"
        elif self._has_unused_input:
            reason = "no file was selected"
        else:
            reason = "the form is empty"
        return f"The form has no file in the field {wanted!r}; {reason}."


def _wrong_boundary(decoder: MultipartDecoder) -> BadRequest:
    return BadRequest(
        f"The boundary {decoder.boundary.decode()!r} in the Content-Type header does not occur in "
        "the body. Let your HTTP library set this header."
    )
