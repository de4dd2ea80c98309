"""Rate limits per client: a general one, and a stricter one for uploads and jobs.

Times are monotonic, so that a change of the system clock neither blocks nor frees clients.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from flask import Flask, request

from studio.errors import TooManyRequests
from studio.web.access import Access, asked_operation

PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


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


def register(app: Flask, access: Access, general: str, work: str) -> None:
    """Limit the requests of each client; an empty rate means no limit.

    The operation of a request determines which limit applies.
    """
    rates = {name: Rate(rate) for name, rate in (("general", general), ("work", work)) if rate}

    @app.before_request
    def count() -> None:
        operation = asked_operation()
        rate = rates.get(operation.rate if operation is not None else "general")
        if rate is None or request.method == "OPTIONS":
            return
        wait_s = rate.take(access.caller())
        if wait_s > 0:
            retry_after_s = max(1, math.ceil(wait_s))
            raise TooManyRequests(
                f"Rate limit of {rate} exceeded. Retry after {retry_after_s} s.",
                retry_after_s=retry_after_s,
            )
