"""Counts who does something at the same time, and bounds it."""

from collections import Counter
from threading import Lock


class Places:
    """At most `most` places at the same time, and of them `most_of_a_client`; 0 is no bound."""

    def __init__(self, most: int, most_of_a_client: int) -> None:
        self.most = most
        self.most_of_a_client = most_of_a_client
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, client: str) -> str | None:
        """Take a place, which `leave` gives back; else say whose are all taken: all or client."""
        with self._lock:
            if 0 < self.most_of_a_client <= self._taken[client]:
                return "client"
            if self._taken.total() >= self.most:
                return "all"
            self._taken[client] += 1
            return None

    def leave(self, client: str) -> None:
        with self._lock:
            self._taken[client] -= 1
            # Clients come and go: none is kept that has nothing.
            self._taken += Counter()
