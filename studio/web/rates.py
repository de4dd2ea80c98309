"""How often one client may ask: a general rate, and a stricter one for what makes work.

Moments are monotonic: a clock that is set neither blocks nor frees anybody.
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
    """At most so many requests of a client in any period of that length, such as `60/minute`."""

    def __init__(self, rate: str, clock: Callable[[], float] = time.monotonic) -> None:
        count, _, self._period = rate.partition("/")
        self._most = int(count)
        self._period_s = PERIODS_S[self._period]
        self._clock = clock
        self._lock = Lock()
        self._moments: dict[str, deque[float]] = {}
        self._swept_s = clock()

    def take(self, client: str) -> float:
        """Count a request; 0, or the seconds until the next one is allowed."""
        now_s = self._clock()
        with self._lock:
            self._sweep(now_s)
            moments = self._moments.setdefault(client, deque())
            while moments and moments[0] <= now_s - self._period_s:
                moments.popleft()
            if len(moments) >= self._most:
                return moments[0] + self._period_s - now_s
            moments.append(now_s)
            return 0.0

    def _sweep(self, now_s: float) -> None:
        """Forget clients that have not asked for a period."""
        if now_s - self._swept_s >= self._period_s:
            self._swept_s = now_s
            for client, moments in list(self._moments.items()):
                if not moments or moments[-1] <= now_s - self._period_s:
                    del self._moments[client]

    def __str__(self) -> str:
        return f"{self._most} per 1 {self._period}"


def register(app: Flask, access: Access, general: str, work: str) -> None:
    """Bound the requests of each client; an empty rate is no bound.

    Which rate counts a request is said by the operation that it asks for.
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
            raise TooManyRequests(
                f"More than {rate} came from you. Wait a little and go on.",
                retry_after_s=max(1, math.ceil(wait_s)),
            )
