"""Who calls: API keys, whose files are whose, and which web origins may act."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request

from studio.errors import OriginRefused, Unauthorized
from studio.web.operations import Operation

# One household or host has at least so many bits of IPv6 to itself: its addresses are one client.
CLIENT_BITS = 64
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")
CHANGES_NOTHING = ("GET", "HEAD", "OPTIONS")


class Access:
    """The keys of the server, and the origins whose pages may use it ("*": all)."""

    def __init__(
        self, keys: frozenset[str], origins: str | list[str], metrics_key: str = ""
    ) -> None:
        """`metrics_key` opens the metrics; empty: they are for this machine only."""
        self._digests = [_digest(key) for key in sorted(keys)]
        self._metrics_digest = _digest(metrics_key) if metrics_key else None
        self._origins = origins

    @property
    def needs_key(self) -> bool:
        return bool(self._digests)

    def owner_of(self, key: str | None) -> str | None:
        """The owner of what is uploaded with a key: its digest; None where no keys are set.

        Raises Unauthorized when the key is missing or not known.
        """
        if not self._digests:
            return None
        if not key:
            raise Unauthorized(
                "This server answers with an API key only. Send it as `Authorization: Bearer KEY` "
                "or `X-API-Key: KEY`."
            )
        given = _digest(key)
        # All are compared, and each in constant time: the time tells nothing of the keys.
        if not sum(hmac.compare_digest(given, known) for known in self._digests):
            raise Unauthorized("The API key is not known to this server. Check it.")
        return given

    def check_metrics(self, key: str | None, environ: Mapping[str, Any]) -> None:
        """Raise Unauthorized unless a request may read the metrics."""
        if self._metrics_digest is None:
            if _is_local(environ):
                return
            raise Unauthorized(
                "The metrics are for this machine only. To read them from elsewhere, set "
                "METRICS_KEY on the server and send it as `Authorization: Bearer KEY`."
            )
        if key is None or not hmac.compare_digest(_digest(key), self._metrics_digest):
            raise Unauthorized(
                "The metrics need the METRICS_KEY of this server: `Authorization: Bearer KEY`."
            )

    def client(self, key: str | None, address: str | None) -> str:
        """Whom limits count: the owner of a good key, else the address."""
        try:
            owner = self.owner_of(key)
        except Unauthorized:
            owner = None
        return f"key:{owner}" if owner else f"address:{network(address or 'unknown')}"

    def caller(self) -> str:
        """Whom limits count for the current request."""
        return self.client(given_key(), request.remote_addr)

    def allows(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        """Whether pages of an origin may use the server: those that are named, and its own."""
        if self._origins == "*":
            return True
        named = (origin or "").lower()
        try:
            host = urlsplit(named).netloc
        except ValueError:
            return False
        return named in self._origins or host == environ.get("HTTP_HOST", "")

    @property
    def origins_for_sockets(self) -> Any:
        """As Flask-SocketIO takes it."""
        return "*" if self._origins == "*" else self.allows


def given_key() -> str | None:
    """The key that the current request carries in its headers."""
    sent = request.authorization
    if sent is not None and sent.type == "bearer" and sent.token:
        return sent.token
    return request.headers.get("X-API-Key")


def key_of(auth: Any) -> str | None:
    """The key in what a Socket.IO client sends as `auth`."""
    if not isinstance(auth, dict):
        return None
    found = auth.get("token") or auth.get("api_key")
    return found if isinstance(found, str) else None


def asked_operation() -> Operation | None:
    """The description of what the current request asks for; None for pages and unknown routes."""
    view = current_app.view_functions.get(request.endpoint or "")
    found: Operation | None = getattr(view, "operation", None)
    return found


def register(app: Flask, access: Access) -> None:
    """Check the origin of every request that changes something, and the key where one is needed."""

    @app.before_request
    def check_origin() -> None:
        origin = request.headers.get("Origin")
        if request.method in CHANGES_NOTHING or origin is None:
            return
        if not access.allows(origin, request.environ):
            raise OriginRefused(
                f"The page comes from {origin!r}, which is not among the CORS_ORIGINS of this "
                "server."
            )

    @app.before_request
    def check_key() -> None:
        operation = asked_operation()
        if operation is None or operation.is_open or request.method == "OPTIONS":
            return
        g.owner = access.owner_of(given_key())


def _is_local(environ: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine, and not through a proxy that is not trusted."""
    is_trusted = "werkzeug.proxy_fix.orig" in environ
    if not is_trusted and any(name in environ for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def network(address: str) -> str:
    """What counts as one address: itself, or its network where it is one of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, CLIENT_BITS), strict=False))
