"""Limits unjoined Socket.IO connections, and the requests of each connection, because every
pending request occupies a server thread.

A connection is a stranger until it has joined a namespace, which clients do immediately. A few
strangers are allowed in addition to the live sessions; a newcomer takes the place of the oldest
one. The namespace limits joined connections itself, with an error that clients can show.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock, Timer, get_ident
from typing import Any
from urllib.parse import parse_qs

from studio import logs
from studio.web.access import network
from studio.web.live.connection import StrictConnection, describe
from studio.web.tcp import hang_up, second_handle, stop_reading

STRANGERS_PER_NETWORK = 8
# Rejected clients may try another key, but not indefinitely.
MAX_CONNECTS = 5
# Binary parts of one event; the events of the protocol have one.
MAX_ATTACHMENTS = 4
# Time to keep sending to a client, and reading from it, after the last message to it.
LINGER_S = 5.0
# The protocol has one poll at a time, and one WebSocket to upgrade to. Some clients close the
# connection with a second POST.
AT_ONCE = {"poll": 1, "websocket": 1, "send": 2}
# Keys in the WSGI environment of a request.
_ASKED, _CONNECTION = "studio.asked", "studio.connection"

log = logs.RateLimitedLog(logging.getLogger(__name__))


@dataclass
class _Connection:
    """The origin of a connection (an address or IPv6 network), and how often it tried to join."""

    network: str
    connects: int = 0


@dataclass(frozen=True, eq=False)
class _PendingRequest:
    """A request of a connection in progress on a thread: poll, websocket or send."""

    kind: str
    thread: int
    tcp: socket.socket | None


def install(server: Any, namespaces: Sequence[str], max_strangers: int) -> None:
    """Bound the connections of a Socket.IO server.

    Replaces Engine.IO's handlers of `connect`, `disconnect` and `message`, and `handle_request`, by
    ones that count and check before they call the original: Engine.IO itself accepts any number of
    connections and requests, and has no hook for either.
    """
    bounded = _Sockets(server, namespaces, max_strangers)
    bounded.replace_handlers()


class _Sockets:
    """The open connections of one Socket.IO server, of which at most `max_strangers` have not
    joined any of the `namespaces`."""

    def __init__(self, server: Any, namespaces: Sequence[str], max_strangers: int) -> None:
        self._server = server
        self._namespaces = namespaces
        self._max_strangers = max_strangers
        self._open: dict[str, _Connection] = {}
        self._asked: dict[str, list[_PendingRequest]] = {}
        # How many messages of a connection are being handled, and why it has ended meanwhile.
        self._handling: Counter[str] = Counter()
        self._left: dict[str, str] = {}
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
        """Accept a connection, and close an older stranger if necessary."""
        if environ[_ASKED].kind == "websocket":
            environ[_CONNECTION] = connection
            self._admit(connection, environ[_ASKED])
        StrictConnection.take(
            self._server.eio.sockets[connection],
            partial(self._is_in, connection),
            lambda: not self._has_joined(connection),
            partial(self._refuse, connection),
        )
        new = _Connection(network(str(environ.get("REMOTE_ADDR", ""))))
        with self._lock:
            leaving = self._to_end(new)
            if leaving is not None:
                # Free its place for connections that arrive in the meantime.
                del self._open[leaving]
            self._open[connection] = new
        if leaving is not None:
            self._end(leaving)
        return self._enter(connection, environ)

    def _to_end(self, new: _Connection) -> str | None:
        """The stranger whose place a new one needs: the oldest one of its network, or of the
        network with the most strangers; None if there is room."""
        strangers = {one: about for one, about in self._open.items() if not self._has_joined(one)}
        networks = Counter(about.network for about in strangers.values())
        if networks[new.network] >= STRANGERS_PER_NETWORK:
            crowded = new.network
        elif len(strangers) >= self._max_strangers:
            crowded = networks.most_common(1)[0][0]
        else:
            return None
        # Connections are in order of arrival, so the oldest comes first.
        return next(one for one, it in strangers.items() if it.network == crowded)

    def _on_message(self, connection: str, data: Any) -> None:
        """Handle a Socket.IO message; close the connection if that fails."""
        with self._lock:
            about = self._open.get(connection)
            if about is None:
                return
            self._handling[connection] += 1
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
        finally:
            self._handled(connection)

    def _handled(self, connection: str) -> None:
        """Tell Socket.IO the end of a connection that ended while its messages were handled."""
        with self._lock:
            self._handling[connection] -= 1
            if self._handling[connection]:
                return
            del self._handling[connection]
            reason = self._left.pop(connection, None)
        if reason is not None:
            self._leave(connection, reason)

    def _refuse(self, connection: str, reason: str) -> None:
        """Close a connection because of what it sent."""
        about = self._open.get(connection)
        address = about.network if about else "an ended connection"
        log.warning("closing the connection of %s: %s", address, reason)
        self._end(connection)

    def _end(self, connection: str) -> None:
        known = self._server.eio.sockets.get(connection)
        if known is not None:
            # Do not wait: a client that no longer polls would block for ever.
            known.close(wait=False, reason=self._server.eio.reason.SERVER_DISCONNECT)
        self._stop(connection, stop_reading)

    def _stop(self, connection: str, end: Callable[[socket.socket], None]) -> None:
        """Make the other threads of a connection see its end."""
        with self._lock:
            asked = list(self._asked.get(connection, []))
        for one in asked:
            if one.kind != "poll" and one.tcp is not None and one.thread != get_ident():
                end(one.tcp)

    def _on_disconnect(self, connection: str, reason: str) -> None:
        with self._lock:
            self._open.pop(connection, None)
            is_read = any(one.kind != "poll" for one in self._asked.get(connection, []))
        known = self._server.eio.sockets.get(connection)
        if known is None or not known.upgraded:
            # Engine.IO wakes polls. A pending read would occupy its thread as long as the client
            # likes.
            self._stop(connection, stop_reading)
        elif is_read and reason != self._server.eio.reason.TRANSPORT_CLOSE:
            # The last messages to the client are still being sent, but it may not read them.
            timer = Timer(LINGER_S, self._stop, (connection, hang_up))
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:
                # There is no thread left; the client's own frees one.
                self._stop(connection, hang_up)
        with self._lock:
            if self._handling[connection]:
                # Socket.IO would not tell a namespace that the client is just joining, and the
                # client's place would be lost.
                self._left[connection] = reason
                return
        self._leave(connection, reason)

    def _handle_request(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Handle a request, unless its connection has too many of its type in progress."""
        with second_handle(environ) or nullcontext() as tcp:
            asked = _PendingRequest(_kind(environ), get_ident(), tcp)
            connection = parse_qs(str(environ.get("QUERY_STRING", ""))).get("sid", [""])[0]
            if connection and not self._admit(connection, asked):
                start_response("400 BAD REQUEST", [("Content-Type", "text/plain")])
                return [b'"Another request of this connection is still being answered."']
            # A WebSocket without an ID gets one; `_on_connect` records it.
            environ[_ASKED] = asked
            try:
                return self._answer(environ, start_response)
            finally:
                if asked.kind == "websocket" and tcp is not None:
                    # Otherwise the reading thread would wait for more data from the client.
                    stop_reading(tcp)
                self._forget(environ.get(_CONNECTION, connection), asked)

    def _admit(self, connection: str, asked: _PendingRequest) -> bool:
        """Record a request of a connection, unless it has too many of its type."""
        with self._lock:
            others = self._asked.setdefault(connection, [])
            is_allowed = [one.kind for one in others].count(asked.kind) < AT_ONCE[asked.kind]
            if is_allowed:
                others.append(asked)
            return is_allowed

    def _forget(self, connection: str, asked: _PendingRequest) -> None:
        with self._lock:
            others = self._asked.get(connection, [])
            if asked in others:
                others.remove(asked)
            if not others:
                self._asked.pop(connection, None)

    def _has_joined(self, connection: str) -> bool:
        return any(self._is_in(connection, one) for one in self._namespaces)

    def _is_in(self, connection: str, namespace: str) -> bool:
        return self._server.manager.sid_from_eio_sid(connection, namespace) is not None


def _kind(environ: Mapping[str, Any]) -> str:
    if environ.get("REQUEST_METHOD") == "POST":
        return "send"
    is_websocket = str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"
    return "websocket" if is_websocket else "poll"
