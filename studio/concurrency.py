"""Limits how many clients do something at the same time."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True)
class LimitReached:
    """The limit of one client, or that of all clients together."""

    limit: int
    of_client: bool

    def count(self, clients: str, everyones: str) -> str:
        """What is in use, as in "3 uploads of yours" or "20 uploads"."""
        return f"{self.limit} {clients if self.of_client else everyones}"


class ConcurrencyLimit:
    """At most `max_total` slots, and `max_per_client` for one client (0: no limit)."""

    def __init__(self, max_total: int, max_per_client: int) -> None:
        self.max_total = max_total
        self.max_per_client = max_per_client
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def acquire(self, client: str) -> LimitReached | None:
        """Take a slot, to be given back with `release`, or return the limit that was reached."""
        with self._lock:
            if 0 < self.max_per_client <= self._taken[client]:
                return LimitReached(self.max_per_client, of_client=True)
            if self._taken.total() >= self.max_total:
                return LimitReached(self.max_total, of_client=False)
            self._taken[client] += 1
            return None

    def release(self, client: str) -> None:
        with self._lock:
            self._taken[client] -= 1
            # Drop clients with a count of 0.
            self._taken += Counter()

    @contextmanager
    def slot(self, client: str, refusal: Callable[[LimitReached], Exception]) -> Iterator[None]:
        """Hold a slot. Raises `refusal` of the limit that was reached if none is free."""
        reached = self.acquire(client)
        if reached is not None:
            raise refusal(reached)
        try:
            yield
        finally:
            self.release(client)
