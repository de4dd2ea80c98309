"""Limits on uploads: file type, size, duration, and the number of simultaneous uploads."""

from contextlib import AbstractContextManager

from studio.audio import Probe
from studio.concurrency import ConcurrencyLimit, LimitReached
from studio.errors import AudioTooLong, TooManyUploads

RETRY_AFTER_S = 5
SAMPLE_BYTES = 4


class UploadBounds:
    """The limits of one server; each is a setting."""

    def __init__(
        self,
        *,
        allowed_extensions: frozenset[str],
        max_bytes: int,
        limit: ConcurrencyLimit,
        max_duration_s: float,
        max_decoded_bytes: int,
    ) -> None:
        self.allowed_extensions = allowed_extensions
        self.max_bytes = max_bytes
        self._limit = limit
        self._max_duration_s = max_duration_s
        self._max_decoded_bytes = max_decoded_bytes

    def slot(self, client: str) -> AbstractContextManager[None]:
        """Reserve a slot for an upload in progress. Raises TooManyUploads if none is free."""
        return self._limit.slot(client, _refusal)

    def check_length(self, probe: Probe) -> None:
        """Raise AudioTooLong if the audio is too long, or too large once decoded."""
        second_bytes = probe.sample_rate_hz * probe.channels * SAMPLE_BYTES
        max_s = min(self._max_duration_s, self._max_decoded_bytes / second_bytes)
        if probe.duration_s > max_s:
            raise AudioTooLong(
                f"The audio is {probe.duration_s:,.0f} s long; the maximum is {max_s:,.0f} s "
                f"at {probe.sample_rate_hz:,} Hz with {probe.channels} channels. Split the file."
            )


def _refusal(reached: LimitReached) -> TooManyUploads:
    return TooManyUploads(
        f"{reached.count('uploads of yours', 'uploads')} are in progress. "
        f"Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )
