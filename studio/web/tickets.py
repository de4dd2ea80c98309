"""Tickets: signed permissions that expire, in links and session cookies.

The server stores none of them: a ticket consists of its end and a signature over purpose and end.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable

_FORM = re.compile(r"([0-9]{1,12})-([0-9a-f]{64})")


class Tickets:
    """Issues and checks tickets with a secret. Times are Unix seconds.

    The parts of a purpose contain no line ends.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def issue(self, *purpose: str, lifetime_s: int) -> tuple[str, int]:
        """A ticket for a purpose, and when it expires."""
        expires_at = int(self._clock()) + lifetime_s
        return f"{expires_at}-{self._signature(purpose, expires_at)}", expires_at

    def expires_at(self, ticket: str, *purpose: str) -> int | None:
        """When a ticket expires, or has expired; None if it is not one for this purpose."""
        form = _FORM.fullmatch(ticket)
        if form is None:
            return None
        expires_at = int(form[1])
        is_signed = hmac.compare_digest(form[2], self._signature(purpose, expires_at))
        return expires_at if is_signed else None

    def is_valid(self, ticket: str, *purpose: str) -> bool:
        """Whether a ticket is one for this purpose and has not expired."""
        expires_at = self.expires_at(ticket, *purpose)
        return expires_at is not None and self._clock() < expires_at

    def _signature(self, purpose: tuple[str, ...], expires_at: int) -> str:
        message = "\n".join(("studio ticket", *purpose, str(expires_at)))
        return hmac.new(self._secret, message.encode(), hashlib.sha256).hexdigest()
