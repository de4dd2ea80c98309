"""Requests of the server to URLs that callers provide.

Only this module decides where such requests may go: it connects to exactly the address it has
checked, follows no redirects, and discards the response body.
"""

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Timer
from urllib.parse import urlsplit

MAX_URL_CHARACTERS = 2000
CONNECT_S = 5.0
# How many of the addresses of a name are tried, and how long in all.
MAX_ADDRESSES, CONNECT_ALL_S = 4, 10.0
# For the whole exchange, however slow the other side is.
EXCHANGE_S = 15.0

# All other IPv6 addresses are link-local, site-local, unique local, or translations.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Exceptions: protocol assignments, documentation, tunnels and relays, and Azure's platform address,
# which only looks public. Later versions of Python know some of them.
_NOT_PUBLIC = [
    ipaddress.ip_network(one)
    for one in (
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "168.63.129.16/32",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]
# Marks an ISATAP address, before the IPv4 address that it tunnels to.
_ISATAP = (0x00005EFE, 0x02005EFE)
_PORTS = {"http": 80, "https": 443}
# Labels that resolvers accept (RFC 1123, and underscores, which are in use).
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MAX_NAME_CHARACTERS = 253


class OutgoingRefused(Exception):
    """The server does not send to this URL; the message says why."""


class OutgoingPostponed(Exception):
    """Nothing was sent, because the server lacks resources; the message says which."""


@dataclass(frozen=True)
class Target:
    """The parts of a valid URL; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises OutgoingRefused if it is not a valid HTTP URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise OutgoingRefused("it is not a URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise OutgoingRefused("it must begin with https:// or http:// followed by a host")
        if (
            len(url) > MAX_URL_CHARACTERS
            or not url.isascii()
            or not url.isprintable()
            or " " in url
        ):
            raise OutgoingRefused(
                f"it must have at most {MAX_URL_CHARACTERS} ASCII characters and no spaces"
            )
        if parts.username is not None or parts.password is not None:
            raise OutgoingRefused("it must not contain a user name or password")
        if port == 0:
            raise OutgoingRefused("port 0 is not allowed")
        if not _is_address(parts.hostname) and not _is_name(parts.hostname):
            raise OutgoingRefused(
                f"{parts.hostname[:80]!r} is not a host name: each part between dots must have 1 "
                "to 63 letters, digits and hyphens, and the whole at most "
                f"{_MAX_NAME_CHARACTERS} characters"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def authority(url: str) -> str:
    """The host and port of a URL, to identify URLs of the same server."""
    try:
        target = Target.of(url)
    except OutgoingRefused:
        return ""
    return f"{target.host}:{target.port}"


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= _MAX_NAME_CHARACTERS and all(map(_LABEL.fullmatch, labels))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check(url: str, allow_private: bool) -> None:
    """Raise OutgoingRefused if the URL is invalid, or its host is a private IP address.

    Names are resolved and checked when the request is sent.
    """
    target = Target.of(url)
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        return
    if not allow_private and not is_public(str(address)):
        raise OutgoingRefused(f"{address} is a private or local address")


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast address, and not a tunnel or translation."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if not parsed.is_global or parsed.is_multicast or any(parsed in one for one in _NOT_PUBLIC):
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return True
    return parsed in _GLOBAL_UNICAST and (int(parsed) >> 32) & 0xFFFFFFFF not in _ISATAP


def post(url: str, body: bytes, headers: Mapping[str, str], allow_private: bool) -> int:
    """Send a body and return the status of the response.

    Raises OutgoingRefused if the address is not allowed, OutgoingPostponed if there is no thread to
    bound the time, and OSError or http.client.HTTPException if the request fails.
    """
    target = Target.of(url)
    connection = http.client.HTTPConnection(target.host, target.port)
    # The header `Host` leaves this port out.
    connection.default_port = _PORTS[target.scheme]
    with closing(_connect(target, allow_private)) as plain, _ended_in_time(plain):
        connection.sock = _secured(plain, target)
        with closing(connection):
            connection.request("POST", target.path, body, dict(headers))
            with connection.getresponse() as answer:
                return answer.status


def _connect(target: Target, allow_private: bool) -> socket.socket:
    """Connect to the first of a few allowed addresses of the host that accepts a connection."""
    addresses = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    allowed = [one for one in addresses if allow_private or is_public(str(one[4][0]))]
    if not allowed:
        raise OutgoingRefused(f"{target.host} resolves to a private or local address")
    tried = allowed[:MAX_ADDRESSES]
    failure: OSError | None = None
    for family, kind, protocol, _, address in tried:
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(min(CONNECT_S, CONNECT_ALL_S / len(tried)))
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure = error
        else:
            connecting.settimeout(CONNECT_S)
            return connecting
    assert failure is not None
    raise failure


def _secured(plain: socket.socket, target: Target) -> socket.socket:
    if target.scheme == "http":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)


@contextmanager
def _ended_in_time(connected: socket.socket) -> Iterator[None]:
    """Shut the connection down if the whole exchange takes too long."""
    same = connected.dup()

    def end() -> None:
        with suppress(OSError):
            same.shutdown(socket.SHUT_RDWR)

    timer = Timer(EXCHANGE_S, end)
    timer.daemon = True
    try:
        try:
            timer.start()
        except RuntimeError as error:
            raise OutgoingPostponed(str(error)) from error
        yield
    finally:
        timer.cancel()
        same.close()
