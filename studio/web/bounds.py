"""Limits on uploads: file type, size, duration, and the number of simultaneous uploads."""

from collections.abc import Iterator
from contextlib import contextmanager

from studio.audio import Probe
from studio.errors import AudioTooLong, TooManyUploads
from studio.storage.slots import Places

RETRY_AFTER_S = 5
SAMPLE_BYTES = 4


class UploadBounds:
    """The limits of one server; each is a setting."""

    def __init__(
        self,
        *,
        allowed_extensions: frozenset[str],
        most_bytes: int,
        places: Places,
        longest_s: float,
        most_decoded_bytes: int,
    ) -> None:
        self.allowed_extensions = allowed_extensions
        self.most_bytes = most_bytes
        self._places = places
        self._longest_s = longest_s
        self._most_decoded_bytes = most_decoded_bytes

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Reserve a slot for an upload in progress. Raises TooManyUploads if none is free."""
        taken_by = self._places.take(client)
        if taken_by is not None:
            count = (
                f"{self._places.max_per_client} uploads of yours"
                if taken_by == "client"
                else f"{self._places.max_total} uploads"
            )
            raise TooManyUploads(
                f"{count} are in progress. Retry after {RETRY_AFTER_S} s.",
                retry_after_s=RETRY_AFTER_S,
            )
        try:
            yield
        finally:
            self._places.leave(client)

    def check_length(self, probe: Probe) -> None:
        """Raise AudioTooLong if the audio is too long, or too large once decoded."""
        second_bytes = probe.sample_rate_hz * probe.channels * SAMPLE_BYTES
        longest_s = min(self._longest_s, self._most_decoded_bytes / second_bytes)
        if probe.duration_s > longest_s:
            raise AudioTooLong(
                f"The audio is {probe.duration_s:,.0f} s long; the maximum is {longest_s:,.0f} s "
                f"at {probe.sample_rate_hz:,} Hz with {probe.channels} channels. Split the file."
            )
