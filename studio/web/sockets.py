"""Bounds the Socket.IO connections that nobody speaks on, and the requests of each: every request
that hangs holds a thread of the server.

A connection is a stranger until it has joined the namespace, which clients do at once. Strangers
have a few places beside those of the live sessions; who comes when all are taken gets the place of
the oldest one. What joins is bounded there, with a sentence that clients can show.
"""

import logging
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock, Timer, get_ident
from typing import Any
from urllib.parse import parse_qs

from studio import logs
from studio.web.access import network
from studio.web.connection import StrictConnection, describe

STRANGERS_PER_NETWORK = 8
JOIN_WITHIN_S = 10.0
# Refused clients may try another key, but not for ever.
MAX_CONNECTS = 5
# Binary parts of one event; those of the protocol have one.
MAX_ATTACHMENTS = 4
# After the last words to a client, until it is no longer read from.
LINGER_S = 5.0
# Clients poll once at a time, as the protocol wants it, and go over to one WebSocket. Some end the
# connection in a second POST.
AT_ONCE = {"poll": 1, "websocket": 1, "send": 2}
# What is noted in the environment of a request.
_ASKED, _CONNECTION = "studio.asked", "studio.connection"

log = logs.Limited(logging.getLogger(__name__))


@dataclass
class _Connection:
    """Where it comes from (an address, or a network of IPv6), since when it is open (monotonic
    seconds), and how often it tried to join."""

    network: str
    since_s: float
    connects: int = 0


@dataclass(frozen=True, eq=False)
class _Asked:
    """A request of a connection that is being answered by a thread: poll, websocket or send."""

    kind: str
    thread: int
    tcp: socket.socket | None


def install(server: Any, namespace: str, max_strangers: int) -> None:
    """Bound the connections of a Socket.IO server.

    Replaces Engine.IO's handlers of `connect`, `disconnect` and `message`, and `handle_request`, by
    ones that count and check before they call the original: Engine.IO itself accepts any number of
    connections and requests, and has no hook for either.
    """
    bounded = _Sockets(server, namespace, max_strangers)
    bounded.replace_handlers()


class _Sockets:
    """The open connections of one Socket.IO server, of which at most `most_strangers` have not
    joined `namespace`."""

    def __init__(self, server: Any, namespace: str, most_strangers: int) -> None:
        self._server = server
        self._namespace = namespace
        self._most_strangers = most_strangers
        self._open: dict[str, _Connection] = {}
        self._asked: dict[str, list[_Asked]] = {}
        self._lock = Lock()
        self._enter = server.eio.handlers["connect"]
        self._leave = server.eio.handlers["disconnect"]
        self._message = server.eio.handlers["message"]
        self._answer = server.eio.handle_request

    def replace_handlers(self) -> None:
        engine = self._server.eio
        engine.on("connect", self._on_connect)
        engine.on("disconnect", self._on_disconnect)
        engine.on("message", self._on_message)
        engine.handle_request = self._handle_request

    def _on_connect(self, connection: str, environ: dict[str, Any]) -> Any:
        """Let a connection in; older strangers make room for it."""
        if environ[_ASKED].kind == "websocket":
            environ[_CONNECTION] = connection
            self._admit(connection, environ[_ASKED])
        StrictConnection.take(
            self._server.eio.sockets[connection],
            self._namespace,
            lambda: not self._has_joined(connection),
            partial(self._refuse, connection),
        )
        new = _Connection(network(str(environ.get("REMOTE_ADDR", ""))), time.monotonic())
        with self._lock:
            leaving = self._to_end(new)
            for one in leaving:
                # Others that come meanwhile find its place free.
                del self._open[one]
            self._open[connection] = new
        for one in leaving:
            self._end(one)
        return self._enter(connection, environ)

    def _to_end(self, new: _Connection) -> list[str]:
        """The strangers that have had their time, or whose place a new one needs: the oldest of
        its network, else the oldest of the network that has most."""
        strangers = {one: about for one, about in self._open.items() if not self._has_joined(one)}
        late = [
            one for one, about in strangers.items() if new.since_s - about.since_s > JOIN_WITHIN_S
        ]
        for one in late:
            del strangers[one]
        networks = Counter(about.network for about in strangers.values())
        if networks[new.network] >= STRANGERS_PER_NETWORK:
            crowded = new.network
        elif len(strangers) >= self._most_strangers:
            crowded = networks.most_common(1)[0][0]
        else:
            return late
        # The oldest is the first: connections stand in the order in which they came.
        return [*late, next(one for one, it in strangers.items() if it.network == crowded)]

    def _on_message(self, connection: str, data: Any) -> None:
        """Handle a message of Socket.IO; the connection ends at one that cannot be handled."""
        about = self._open.get(connection)
        if about is None:
            return
        try:
            if not self._has_joined(connection):
                about.connects += 1
                if about.connects > MAX_CONNECTS:
                    self._refuse(connection, "too many attempts to join")
                    return
            self._message(connection, data)
            pending = self._server._binary_packet.get(connection)
            if pending is not None and pending.attachment_count > MAX_ATTACHMENTS:
                self._refuse(connection, f"an event with {pending.attachment_count} attachments")
        except Exception as error:
            self._refuse(connection, describe(error))

    def _refuse(self, connection: str, reason: str) -> None:
        """End a connection for what it sent."""
        about = self._open.get(connection)
        address = about.network if about else "an ended connection"
        log.warning("closing the connection of %s: %s", address, reason)
        self._end(connection)

    def _end(self, connection: str) -> None:
        known = self._server.eio.sockets.get(connection)
        if known is not None:
            # One that polls no more would be waited for without an end.
            known.close(wait=False, reason=self._server.eio.reason.SERVER_DISCONNECT)
        self._stop(connection)

    def _stop(self, connection: str) -> None:
        """Let the threads that read from a connection find its end."""
        with self._lock:
            asked = list(self._asked.get(connection, []))
        for one in asked:
            if one.kind != "poll" and one.tcp is not None and one.thread != get_ident():
                stop_reading(one.tcp)

    def _on_disconnect(self, connection: str, reason: str) -> Any:
        with self._lock:
            self._open.pop(connection, None)
            is_read = any(one.kind != "poll" for one in self._asked.get(connection, []))
        known = self._server.eio.sockets.get(connection)
        if known is None or not known.upgraded:
            # Engine.IO wakes what polls. What it still reads from would hold its thread for as long
            # as the client likes.
            self._stop(connection)
        elif is_read and reason == self._server.eio.reason.SERVER_DISCONNECT:
            # Its last words, and that it ends, are still on their way.
            timer = Timer(LINGER_S, self._stop, (connection,))
            timer.daemon = True
            timer.start()
        return self._leave(connection, reason)

    def _handle_request(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer a request, unless its connection has others of its kind that are not answered."""
        asked = _Asked(_kind(environ), get_ident(), tcp_of(environ))
        connection = parse_qs(str(environ.get("QUERY_STRING", ""))).get("sid", [""])[0]
        if connection and not self._admit(connection, asked):
            start_response("400 BAD REQUEST", [("Content-Type", "text/plain")])
            return [b'"Another request of this connection is still being answered."']
        # A WebSocket without an id gets one, under which `_on_connect` notes it.
        environ[_ASKED] = asked
        try:
            return self._answer(environ, start_response)
        finally:
            if asked.kind == "websocket" and asked.tcp is not None:
                # The thread that reads from it would wait for what its client still says.
                stop_reading(asked.tcp)
            self._forget(environ.get(_CONNECTION, connection), asked)

    def _admit(self, connection: str, asked: _Asked) -> bool:
        """Note a request of a connection, unless it has enough of its kind."""
        with self._lock:
            others = self._asked.setdefault(connection, [])
            is_allowed = [one.kind for one in others].count(asked.kind) < AT_ONCE[asked.kind]
            if is_allowed:
                others.append(asked)
            return is_allowed

    def _forget(self, connection: str, asked: _Asked) -> None:
        with self._lock:
            others = self._asked.get(connection, [])
            if asked in others:
                others.remove(asked)
            if not others:
                self._asked.pop(connection, None)

    def _has_joined(self, connection: str) -> bool:
        manager = self._server.manager
        return manager.sid_from_eio_sid(connection, self._namespace) is not None


def _kind(environ: Mapping[str, Any]) -> str:
    if environ.get("REQUEST_METHOD") == "POST":
        return "send"
    is_websocket = str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"
    return "websocket" if is_websocket else "poll"


def tcp_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """The socket that a request comes over; None where the HTTP server does not tell it."""
    tcp = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return tcp if isinstance(tcp, socket.socket) else None


def has_hung_up(tcp: socket.socket) -> bool:
    """Whether the client has closed its side of the connection."""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(tcp, selectors.EVENT_READ)
            return bool(selector.select(0)) and tcp.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def stop_reading(tcp: socket.socket) -> None:
    """Let a thread that reads from a socket find its end; what it writes still goes out."""
    try:
        tcp.shutdown(socket.SHUT_RD)
    except OSError:
        # The client was faster.
        pass
