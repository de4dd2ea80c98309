"""Rate limits per client: a general one, and a stricter one for uploads and jobs.

A process counts with monotonic times, so that a change of the system clock neither blocks nor frees
clients. Several servers can count together in Redis, by the clocks of their machines.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import Protocol

from flask import Flask, request

from studio.errors import TooManyRequests
from studio.web.access import Access, asked_operation

log = logging.getLogger(__name__)

# While Redis does not respond: how long a request waits for it, and when it is tried again.
REDIS_TIMEOUT_S = 0.5
REDIS_AGAIN_S = 10.0
PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class Limit(Protocol):
    """A limit on the requests of a client. Its string says how many are allowed."""

    def take(self, client: str) -> float:
        """Count a request. Returns 0, or the seconds until the next one is allowed."""
        ...


class Rate:
    """A sliding-window limit on the requests of a client, such as `60/minute`."""

    def __init__(self, rate: str, clock: Callable[[], float] = time.monotonic) -> None:
        count, _, self._period = rate.partition("/")
        self._max_count = int(count)
        self._period_s = PERIODS_S[self._period]
        self._clock = clock
        self._lock = Lock()
        self._moments: dict[str, deque[float]] = {}
        self._swept_s = clock()

    def take(self, client: str) -> float:
        """Count a request. Returns 0, or the seconds until the next one is allowed."""
        now_s = self._clock()
        with self._lock:
            self._sweep(now_s)
            moments = self._moments.setdefault(client, deque())
            while moments and moments[0] <= now_s - self._period_s:
                moments.popleft()
            if len(moments) >= self._max_count:
                return moments[0] + self._period_s - now_s
            moments.append(now_s)
            return 0.0

    def _sweep(self, now_s: float) -> None:
        """Forget clients without requests in the last period."""
        if now_s - self._swept_s >= self._period_s:
            self._swept_s = now_s
            for client, moments in list(self._moments.items()):
                if not moments or moments[-1] <= now_s - self._period_s:
                    del self._moments[client]

    def __str__(self) -> str:
        return f"{self._max_count} requests per {self._period}"


class SharedRate:
    """The same limit for all servers that use a Redis; `name` tells it from others.

    While Redis does not respond, this process counts on its own.
    """

    def __init__(self, name: str, rate: str, url: str) -> None:
        from limits import parse
        from limits.storage import storage_from_string
        from limits.strategies import MovingWindowRateLimiter
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._name = name
        self._own = Rate(rate)
        self._item = parse(rate)
        storage = storage_from_string(
            url,
            wrap_exceptions=True,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            # A connection that was idle may have been closed.
            retry=Retry(NoBackoff(), 1),
        )
        self._window = MovingWindowRateLimiter(storage)
        self._away_until_s = float("-inf")

    def take(self, client: str) -> float:
        """Count a request. Returns 0, or the seconds until the next one is allowed."""
        from limits.errors import StorageError

        if time.monotonic() < self._away_until_s:
            return self._own.take(client)
        try:
            if self._window.hit(self._item, self._name, client):
                return 0.0
            again: float = self._window.get_window_stats(self._item, self._name, client).reset_time
        except StorageError as error:
            log.warning("cannot count requests in Redis, counting here: %s", error.storage_error)
            self._away_until_s = time.monotonic() + REDIS_AGAIN_S
            return self._own.take(client)
        # The clocks of the servers may differ.
        return max(1.0, again - time.time())

    def __str__(self) -> str:
        return str(self._own)


def make_limits(general: str, work: str, redis_url: str = "") -> dict[str, Limit]:
    """The limits by name; an empty rate means no limit.

    With `redis_url` they are those of all servers that use this Redis. Raises ValueError.
    """
    return {
        name: SharedRate(name, rate, redis_url) if redis_url else Rate(rate)
        for name, rate in (("general", general), ("work", work))
        if rate
    }


def register(app: Flask, access: Access, limits: Mapping[str, Limit]) -> None:
    """Limit the requests of each client; the operation of a request determines the limit.

    Requests without a valid key count towards the general limit of their address, on every route
    that needs a key.
    """
    if "general" in limits:
        access.limit_guesses(partial(_take, limits["general"]))

    @app.before_request
    def count() -> None:
        operation = asked_operation()
        name = operation.rate if operation is not None else "general"
        if "general" in limits and operation and not operation.is_open and access.refuses():
            name = "general"
        if name in limits and request.method != "OPTIONS":
            _take(limits[name], access.caller())


def _take(rate: Limit, client: str) -> None:
    """Count a request. Raises TooManyRequests."""
    wait_s = rate.take(client)
    if wait_s > 0:
        retry_after_s = max(1, math.ceil(wait_s))
        raise TooManyRequests(
            f"Rate limit of {rate} exceeded. Retry after {retry_after_s} s.",
            retry_after_s=retry_after_s,
        )
