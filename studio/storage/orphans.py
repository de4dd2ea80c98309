"""Finding what crashes left behind."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from studio.storage.results import ResultId

# The database may not know younger uploads and results yet.
HALF_MADE_AFTER_S = 3600.0
# Files in progress that have not been written to for this long are abandoned.
ABANDONED_AFTER_S = 24 * 3600.0

Choose = Callable[[Sequence[ResultId]], Collection[ResultId]]
"""Chooses some of these results."""


class Orphans(Protocol):
    """Finds and deletes what crashes left behind. Times are in Unix seconds."""

    def remove(self, now: float) -> None:
        """Delete incomplete uploads, results without an upload, and abandoned files in progress.

        If there is no upload at all, results are kept: the disk of the uploads may not be mounted.
        """

    def remove_results(self, choose: Choose, now: float) -> None:
        """Delete the results that `choose` returns, unless they were written within the last hour.

        `choose` is called with one batch at a time. Results exist for a moment before their job is
        stored.
        """
