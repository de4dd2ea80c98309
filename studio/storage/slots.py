"""Limits how many clients do something at the same time."""

from collections import Counter
from threading import Lock


class Places:
    """At most `max_total` places, and `max_per_client` for one client (0: no limit)."""

    def __init__(self, max_total: int, max_per_client: int) -> None:
        self.max_total = max_total
        self.max_per_client = max_per_client
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, client: str) -> str | None:
        """Take a place, to be given back with `leave`.

        Returns None, or which limit was reached: "client" or "all".
        """
        with self._lock:
            if 0 < self.max_per_client <= self._taken[client]:
                return "client"
            if self._taken.total() >= self.max_total:
                return "all"
            self._taken[client] += 1
            return None

    def leave(self, client: str) -> None:
        with self._lock:
            self._taken[client] -= 1
            # Drop clients with a count of 0.
            self._taken += Counter()
