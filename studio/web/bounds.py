"""Limits on uploads: file type, size, duration, and the number of simultaneous uploads."""

from contextlib import AbstractContextManager

from studio.audio import Probe
from studio.errors import AudioTooLong, TooManyUploads
from studio.places import LimitReached, Places

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

    def place(self, client: str) -> AbstractContextManager[None]:
        """Reserve a slot for an upload in progress. Raises TooManyUploads if none is free."""
        return self._places.held(client, _refusal)

    def check_length(self, probe: Probe) -> None:
        """Raise AudioTooLong if the audio is too long, or too large once decoded."""
        second_bytes = probe.sample_rate_hz * probe.channels * SAMPLE_BYTES
        longest_s = min(self._longest_s, self._most_decoded_bytes / second_bytes)
        if probe.duration_s > longest_s:
            raise AudioTooLong(
                f"The audio is {probe.duration_s:,.0f} s long; the maximum is {longest_s:,.0f} s "
                f"at {probe.sample_rate_hz:,} Hz with {probe.channels} channels. Split the file."
            )


def _refusal(reached: LimitReached) -> TooManyUploads:
    return TooManyUploads(
        f"{reached.count('uploads of yours', 'uploads')} are in progress. "
        f"Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )
