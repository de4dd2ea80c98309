"""How often one client may ask: a general rate, and a stricter one for what makes work."""

import math
import time
from collections.abc import Callable

from flask import Flask, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from studio.errors import TooManyRequests
from studio.web.access import Access, asked_operation


def register(app: Flask, access: Access, general: str, work: str) -> None:
    """Bound the requests of each client; an empty rate is no bound.

    Which rate counts a request is said by the operation that it asks for.
    """
    limits: list[str | Callable[[], str] | ApplicationLimit] = [
        ApplicationLimit(rate, scope=name, exempt_when=_not_counted_by(name))
        for name, rate in (("general", general), ("work", work))
        if rate
    ]
    Limiter(
        access.caller,
        app=app,
        application_limits=limits,
        on_breach=_refuse,
        storage_uri="memory://",
        strategy="moving-window",
    )


def _not_counted_by(name: str) -> Callable[[], bool]:
    def is_exempt() -> bool:
        operation = asked_operation()
        counted_by = operation.rate if operation is not None else "general"
        return counted_by != name or request.method == "OPTIONS"

    return is_exempt


def _refuse(limit: RequestLimit) -> None:
    raise TooManyRequests(
        f"More than {limit.limit} came from you. Wait a little and go on.",
        retry_after_s=max(1, math.ceil(limit.window.reset_time - time.time())),
    )
