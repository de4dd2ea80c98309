"""Bounds the Socket.IO connections that nobody speaks on, and the requests of each: every request
that hangs holds a thread of the server.

A connection is a stranger until it has joined the namespace, which clients do at once. What joins
is bounded there, with a sentence that clients can show.
"""

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock, get_ident
from typing import Any
from urllib.parse import parse_qs

STRANGERS_OF_AN_ADDRESS = 8
JOIN_WITHIN_S = 10.0
# Clients poll once at a time, as the protocol wants it, and go over to one WebSocket. Some end the
# connection in a second POST.
AT_ONCE = {"poll": 1, "websocket": 1, "send": 2}


@dataclass(frozen=True)
class _Connection:
    """Where it comes from, and since when it is open (monotonic seconds)."""

    address: str
    since_s: float


@dataclass(frozen=True, eq=False)
class _Asked:
    """A request of a connection that is being answered by a thread: poll, websocket or send."""

    kind: str
    thread: int
    tcp: socket.socket | None


class Sockets:
    """The open connections of one Socket.IO server, at most `most` of either transport."""

    def __init__(self, server: Any, namespace: str, most: int) -> None:
        self._server = server
        self._namespace = namespace
        self._most = most
        self._open: dict[str, _Connection] = {}
        self._asked: dict[str, list[_Asked]] = {}
        self._lock = Lock()
        self._enter = server.eio.handlers["connect"]
        self._leave = server.eio.handlers["disconnect"]
        self._answer = server.eio.handle_request
        server.eio.on("connect", self._on_connect)
        server.eio.on("disconnect", self._on_disconnect)
        server.eio.handle_request = self._handle_request

    def _on_connect(self, connection: str, environ: Mapping[str, Any]) -> Any:
        """Let a connection in, or say why not."""
        new = _Connection(str(environ.get("REMOTE_ADDR", "")), time.monotonic())
        with self._lock:
            strangers = {
                one: about for one, about in self._open.items() if not self._has_joined(one)
            }
            late = {
                one
                for one, about in strangers.items()
                if new.since_s - about.since_s > JOIN_WITHIN_S
            }
            here = {one for one, about in strangers.items() if about.address == new.address}
            if len(here - late) >= STRANGERS_OF_AN_ADDRESS:
                refusal = "Too many connections of this address have not joined a namespace."
            elif len(self._open.keys() - late) >= self._most:
                refusal = "Too many connections are open. Try again later."
            else:
                refusal = None
                self._open[connection] = new
        for one in late:
            self._server.start_background_task(self._end, one)
        return refusal or self._enter(connection, environ)

    def _end(self, connection: str) -> None:
        known = self._server.eio.sockets.get(connection)
        if known is not None:
            # One that polls no more would be waited for without an end.
            known.close(wait=False, reason=self._server.eio.reason.SERVER_DISCONNECT)

    def _on_disconnect(self, connection: str, reason: str) -> Any:
        with self._lock:
            self._open.pop(connection, None)
            asked = list(self._asked.get(connection, []))
        known = self._server.eio.sockets.get(connection)
        is_upgraded = known is not None and known.upgraded
        for one in asked:
            # Engine.IO wakes what polls, and closes a WebSocket that it writes to. What it still
            # reads from would hold its thread for as long as the client likes.
            waits = one.kind == "send" or (one.kind == "websocket" and not is_upgraded)
            if waits and one.tcp is not None and one.thread != get_ident():
                stop_reading(one.tcp)
        return self._leave(connection, reason)

    def _handle_request(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> Any:
        """Answer a request, unless its connection has others of its kind that are not answered."""
        connection = parse_qs(str(environ.get("QUERY_STRING", ""))).get("sid", [""])[0]
        if not connection:
            return self._answer(environ, start_response)
        asked = _Asked(_kind(environ), get_ident(), tcp_of(environ))
        with self._lock:
            others = self._asked.setdefault(connection, [])
            is_allowed = [one.kind for one in others].count(asked.kind) < AT_ONCE[asked.kind]
            if is_allowed:
                others.append(asked)
        if not is_allowed:
            start_response("400 BAD REQUEST", [("Content-Type", "text/plain")])
            return [b'"Another request of this connection is still being answered."']
        try:
            return self._answer(environ, start_response)
        finally:
            with self._lock:
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
    found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return found if isinstance(found, socket.socket) else None


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
