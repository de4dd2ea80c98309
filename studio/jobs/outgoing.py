"""Requests that the server itself sends to addresses that callers name.

The one place that decides where such a request may go: the address that is checked is the address
that is connected to, redirects are not followed, and nothing that comes back is kept.
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

MOST_CHARACTERS = 2000
CONNECT_S = 5.0
# For the whole exchange, however slowly the other side speaks.
EXCHANGE_S = 15.0

# All that is not of this is link-local, site-local, unique to an organisation, or a translation.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Of what remains: protocols, documentation, tunnels and relays, and Azure's platform address, which
# is public in form only. Later versions of Python know some of them.
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
# In the middle of an address of ISATAP, before the IPv4 address that it tunnels to.
_ISATAP = (0x00005EFE, 0x02005EFE)
_PORTS = {"http": 80, "https": 443}
# What name resolution takes (RFC 1123, and the underscore that people use).
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_LONGEST_NAME = 253


class OutgoingRefused(Exception):
    """The address is not one that the server sends to; the text says why."""


@dataclass(frozen=True)
class Target:
    """A checked address: its parts, with the path and the query as they are sent."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises OutgoingRefused when it is no HTTP address."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise OutgoingRefused("it is not an address") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise OutgoingRefused("it must begin with https:// or http:// and a host")
        if len(url) > MOST_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
            raise OutgoingRefused(f"it must have at most {MOST_CHARACTERS} ASCII characters")
        if parts.username is not None or parts.password is not None:
            raise OutgoingRefused("it must hold no user name and no password")
        if port == 0:
            raise OutgoingRefused("it names the port 0")
        if not _is_address(parts.hostname) and not _is_name(parts.hostname):
            raise OutgoingRefused(
                f"{parts.hostname[:80]!r} is no host name: between its dots it must have 1 to 63 "
                f"letters, digits and hyphens, at most {_LONGEST_NAME} characters in all"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def authority(url: str) -> str:
    """The host and port of an address, to tell which addresses lead to the same place."""
    try:
        target = Target.of(url)
    except OutgoingRefused:
        return ""
    return f"{target.host}:{target.port}"


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check(url: str, allow_private: bool) -> None:
    """Raise OutgoingRefused for what can be seen without asking for the name: a host that is an
    address is checked here already."""
    target = Target.of(url)
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        return
    if not allow_private and not is_public(str(address)):
        raise OutgoingRefused(f"{address} is a private or local address")


def is_public(address: str) -> bool:
    """Whether an IP address is one host's on the public Internet, and no way to another one."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if not parsed.is_global or parsed.is_multicast or any(parsed in one for one in _NOT_PUBLIC):
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return True
    return parsed in _GLOBAL_UNICAST and (int(parsed) >> 32) & 0xFFFFFFFF not in _ISATAP


def post(url: str, body: bytes, headers: Mapping[str, str], allow_private: bool) -> int:
    """Send a body; the status of the answer, of which nothing else is read.

    Raises OutgoingRefused where the address must not be sent to, OSError or
    http.client.HTTPException where it does not work.
    """
    target = Target.of(url)
    connection = http.client.HTTPConnection(target.host, target.port)
    with closing(_connect(target, allow_private)) as plain, _ended_in_time(plain):
        connection.sock = _secured(plain, target)
        with closing(connection):
            connection.request("POST", target.path, body, dict(headers))
            with connection.getresponse() as answer:
                return answer.status


def _connect(target: Target, allow_private: bool) -> socket.socket:
    """A connection to the first address of the host that may be connected to and answers."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    allowed = [one for one in found if allow_private or is_public(str(one[4][0]))]
    if not allowed:
        raise OutgoingRefused(f"{target.host} leads to a private or local address")
    failure: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(CONNECT_S)
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure = error
        else:
            return connecting
    assert failure is not None
    raise failure


def _secured(plain: socket.socket, target: Target) -> socket.socket:
    if target.scheme == "http":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)


@contextmanager
def _ended_in_time(connected: socket.socket) -> Iterator[None]:
    """Break the connection off when the exchange takes too long as a whole."""
    same = connected.dup()

    def end() -> None:
        with suppress(OSError):
            same.shutdown(socket.SHUT_RDWR)

    timer = Timer(EXCHANGE_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        same.close()
