"""The TCP sockets of requests: whether the client is still there, and how to end its connection."""

import select
import selectors
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def tcp_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """The socket of a request; None if the HTTP server does not provide it."""
    tcp = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return tcp if isinstance(tcp, socket.socket) else None


def is_disconnected(tcp: socket.socket) -> bool:
    """Whether the client has closed its side of the connection."""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(tcp, selectors.EVENT_READ)
            return bool(selector.select(0)) and tcp.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def has_left(tcp: socket.socket) -> bool:
    """Whether the client has closed the connection, even if not all that it sent has been read."""
    poll = select.poll()
    # Other systems than Linux may report the end later.
    poll.register(tcp, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


def second_handle(environ: Mapping[str, Any]) -> socket.socket | None:
    """A handle of a request's socket that stays valid when another thread closes its own, as
    simple-websocket does even while data is being written. The caller closes it."""
    tcp = tcp_of(environ)
    return None if tcp is None else socket.fromfd(tcp.fileno(), tcp.family, tcp.type)


def stop_reading(tcp: socket.socket) -> None:
    """Make a thread that reads from a socket see its end; writing still works."""
    _shut_down(tcp, socket.SHUT_RD)


def hang_up(tcp: socket.socket) -> None:
    """Make all threads that use a socket see its end, even one that waits for the client to read.
    What has been written is still sent."""
    _shut_down(tcp, socket.SHUT_RDWR)


def _shut_down(tcp: socket.socket, how: int) -> None:
    # The client may have closed it already.
    with suppress(OSError):
        tcp.shutdown(how)
