"""Access control: API keys, the owners of files, and the allowed web origins."""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request

from studio.errors import OriginRefused, StudioError, Unauthorized
from studio.web.operations import Operation

# A household or host has at least a /64 network of IPv6, so its addresses count as one client.
CLIENT_BITS = 64
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")
CHANGES_NOTHING = ("GET", "HEAD", "OPTIONS")

Credential = Callable[[], str | None]
"""Returns the owner that the current request proves without a key, or None."""
CountGuess = Callable[[str], None]
"""Counts a refused connection of a client. Raises TooManyRequests."""


class Access:
    """The API keys of the server, and the allowed web origins ("*": all)."""

    def __init__(
        self, keys: frozenset[str], origins: str | list[str], metrics_key: str = ""
    ) -> None:
        """`metrics_key` gives access to the metrics; empty: only from this machine."""
        self._digests = [_digest(key) for key in sorted(keys)]
        self._metrics_digest = _digest(metrics_key) if metrics_key else None
        self._origins = origins
        self._credentials: list[Credential] = []
        self._count_guess: CountGuess = lambda _client: None

    @property
    def needs_key(self) -> bool:
        return bool(self._digests)

    def owner_of(self, key: str | None) -> str | None:
        """The owner of files uploaded with a key: its digest, or None if no keys are set.

        Raises Unauthorized if the key is missing or unknown.
        """
        if not self._digests:
            return None
        if not key:
            raise Unauthorized(
                "This server requires an API key. Send it as `Authorization: Bearer KEY` or "
                "`X-API-Key: KEY`."
            )
        given = _digest(key)
        # Compare with all keys, each in constant time, so that the timing reveals nothing.
        if not sum(hmac.compare_digest(given, known) for known in self._digests):
            raise Unauthorized("The API key is not valid for this server. Check it.")
        return given

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners that the keys of the server stand for."""
        return tuple(self._digests)

    def accept(self, credential: Credential) -> None:
        """Accept another proof of an owner besides keys. It may raise a StudioError."""
        self._credentials.append(credential)

    def limit_guesses(self, count: CountGuess) -> None:
        """Call `count` for each Socket.IO connection that is refused; it may have guessed a key."""
        self._count_guess = count

    def refuses(self) -> bool:
        """Whether the current request has no valid key; it may have guessed one.

        Otherwise its owner is kept, because proving it may read the record of an upload.
        """
        try:
            g.owner = self.owner()
        except Unauthorized:
            return True
        except StudioError:
            pass
        return False

    def owner(self) -> str | None:
        """The owner that sends the current request; None if no keys are set.

        Raises Unauthorized, or the error of another credential.
        """
        if not self._digests:
            return None
        for credential in self._credentials:
            if (owner := credential()) is not None:
                return owner
        return self.owner_of(given_key())

    def owner_of_socket(self, auth: Any) -> str | None:
        """The owner that opens a Socket.IO connection, by `auth` or like a request.

        Raises Unauthorized, or TooManyRequests after too many of these.
        """
        key = key_of(auth)
        try:
            return self.owner() if key is None else self.owner_of(key)
        except Unauthorized:
            self._count_guess(client_at(request.remote_addr))
            raise

    def check_metrics(self, key: str | None, environ: Mapping[str, Any]) -> None:
        """Raise Unauthorized unless a request may read the metrics."""
        if self._metrics_digest is None:
            if _is_local(environ):
                return
            raise Unauthorized(
                "Metrics are available only on the same machine. To read them from elsewhere, set "
                "METRICS_KEY on the server and send it as `Authorization: Bearer KEY`."
            )
        if key is None or not hmac.compare_digest(_digest(key), self._metrics_digest):
            raise Unauthorized(
                "Metrics require the METRICS_KEY of this server. Send it as `Authorization: Bearer "
                "KEY`."
            )

    def client(self, owner: str | None, address: str | None) -> str:
        """The client that limits apply to: an owner, otherwise the address."""
        return f"key:{owner}" if owner else client_at(address)

    def caller(self) -> str:
        """The client of the current request."""
        try:
            owner = self.owner()
        except StudioError:
            owner = None
        return self.client(owner, request.remote_addr)

    def allows(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        """Whether pages of an origin may use the server: configured origins, and its own."""
        if self._origins == "*":
            return True
        named = (origin or "").lower()
        return named in self._origins or is_own_origin(named, environ.get("HTTP_HOST", ""))

    def check_origin(self) -> None:
        """Raise OriginRefused if a page that may not use the server sent the current request."""
        origin = request.headers.get("Origin")
        if origin is not None and not self.allows(origin, request.environ):
            raise OriginRefused(f"The origin {origin!r} is not in the CORS_ORIGINS of this server.")

    @property
    def origins_for_sockets(self) -> Any:
        """The value for `cors_allowed_origins` of Flask-SocketIO."""
        return "*" if self._origins == "*" else self.allows


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an origin is that of the pages of a host."""
    try:
        return urlsplit(origin.lower()).netloc == host.lower()
    except ValueError:
        return False


def given_key() -> str | None:
    """The API key in the headers of the current request."""
    sent = request.authorization
    if sent is not None and sent.type == "bearer" and sent.token:
        return sent.token
    if sent is not None and sent.type == "basic" and sent.password:
        # Some clients can only carry a key in the address: http://x:KEY@host.
        return sent.password
    return request.headers.get("X-API-Key")


def key_of(auth: Any) -> str | None:
    """The API key in the `auth` data of a Socket.IO client."""
    if not isinstance(auth, dict):
        return None
    key = auth.get("token") or auth.get("api_key")
    return key if isinstance(key, str) else None


def asked_operation() -> Operation | None:
    """The operation of the current request; None for pages and unknown routes."""
    view = current_app.view_functions.get(request.endpoint or "")
    operation: Operation | None = getattr(view, "operation", None)
    return operation


def register(app: Flask, access: Access) -> None:
    """Check the origin of requests that change something, and the key if one is required."""

    @app.before_request
    def check_origin() -> None:
        if request.method not in CHANGES_NOTHING:
            access.check_origin()

    @app.before_request
    def check_key() -> None:
        operation = asked_operation()
        if operation is None or operation.is_open or request.method == "OPTIONS":
            return
        if "owner" not in g:
            g.owner = access.owner()


def _is_local(environ: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine, and not through an untrusted proxy."""
    is_trusted = "werkzeug.proxy_fix.orig" in environ
    if not is_trusted and any(name in environ for name in FORWARDED):
        return False
    try:
        return _parsed(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def client_at(address: str | None) -> str:
    """The client that limits apply to, if no key identifies it."""
    return f"address:{network(address or 'unknown')}"


def network(address: str) -> str:
    """The address itself, or its network for IPv6."""
    try:
        parsed = _parsed(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, CLIENT_BITS), strict=False))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; of IPv4 if IPv6 maps it, as for a server that listens on `::`.

    Raises ValueError.
    """
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
