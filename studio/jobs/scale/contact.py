"""Since when a keeper has been able to see the heartbeats of workers."""

from datetime import datetime, timedelta


class Contact:
    """Contact with a database, by its clock, without a gap of more than `max_gap_s`.

    While the database could not be reached, or did not run, workers could send no heartbeats.
    """

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap = timedelta(seconds=max_gap_s)
        self._since: datetime | None = None
        self._last: datetime | None = None

    def since(self, now: datetime) -> datetime:
        """When it began, as of an answer of the database at `now`."""
        if self._since is None or self._last is None or now - self._last > self._max_gap:
            self._since = now
        self._last = now
        return self._since
