"""What bounds an upload: its kind, its size, how long it sounds, and how many come at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from studio.audio import Probe
from studio.errors import AudioTooLong, TooManyUploads
from studio.slots import Places

RETRY_AFTER_S = 5
SAMPLE_BYTES = 4


class UploadBounds:
    """The bounds of one server; each is a setting."""

    def __init__(
        self,
        allowed_extensions: frozenset[str],
        most_bytes: int,
        most_at_once: int,
        most_at_once_of_a_client: int,
        longest_s: float,
        most_decoded_bytes: int,
    ) -> None:
        self.allowed_extensions = allowed_extensions
        self.most_bytes = most_bytes
        self._places = Places(most_at_once, most_at_once_of_a_client)
        self._longest_s = longest_s
        self._most_decoded_bytes = most_decoded_bytes

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """A place for an upload while it arrives. Raises TooManyUploads when all are taken."""
        taken_by = self._places.take(client)
        if taken_by is not None:
            count = (
                f"{self._places.most_of_a_client} uploads of yours"
                if taken_by == "client"
                else f"{self._places.most} uploads"
            )
            raise TooManyUploads(
                f"{count} are arriving already. Try again in a moment.", retry_after_s=RETRY_AFTER_S
            )
        try:
            yield
        finally:
            self._places.leave(client)

    def check_length(self, found: Probe) -> None:
        """Raises AudioTooLong where a sound has more seconds, or decodes to more bytes."""
        second_bytes = found.sample_rate_hz * found.channels * SAMPLE_BYTES
        longest_s = min(self._longest_s, self._most_decoded_bytes / second_bytes)
        if found.duration_s > longest_s:
            raise AudioTooLong(
                f"The sound has {found.duration_s:,.0f} s; {longest_s:,.0f} s are accepted at "
                f"{found.sample_rate_hz:,} Hz with {found.channels} channels. Send it in parts."
            )
