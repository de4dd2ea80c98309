"""Limits how many clients do something at the same time."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True)
class LimitReached:
    """A limit on places: that of one client, or that of all clients together."""

    limit: int
    of_client: bool

    def count(self, clients: str, everyones: str) -> str:
        """The places that are taken, as in "3 uploads of yours" or "20 uploads"."""
        return f"{self.limit} {clients if self.of_client else everyones}"


class Places:
    """At most `max_total` places, and `max_per_client` for one client (0: no limit)."""

    def __init__(self, max_total: int, max_per_client: int) -> None:
        self.max_total = max_total
        self.max_per_client = max_per_client
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, client: str) -> LimitReached | None:
        """Take a place, to be given back with `leave`, or return the limit that was reached."""
        with self._lock:
            if 0 < self.max_per_client <= self._taken[client]:
                return LimitReached(self.max_per_client, of_client=True)
            if self._taken.total() >= self.max_total:
                return LimitReached(self.max_total, of_client=False)
            self._taken[client] += 1
            return None

    def leave(self, client: str) -> None:
        with self._lock:
            self._taken[client] -= 1
            # Drop clients with a count of 0.
            self._taken += Counter()

    @contextmanager
    def held(self, client: str, refusal: Callable[[LimitReached], Exception]) -> Iterator[None]:
        """Hold a place. Raises `refusal` of the limit that was reached if none is free."""
        reached = self.take(client)
        if reached is not None:
            raise refusal(reached)
        try:
            yield
        finally:
            self.leave(client)
