"""Bounds the WebSockets that nobody speaks on: each holds a thread of the server.

One is a stranger until it has joined the namespace, which clients do at once. What joins is bounded
there, with a sentence that clients can show.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

STRANGERS_OF_AN_ADDRESS = 8
JOIN_WITHIN_S = 10.0


@dataclass(frozen=True)
class _Connection:
    """Where it comes from, and since when it is open (monotonic seconds)."""

    address: str
    since_s: float


class Sockets:
    """The open connections of one Socket.IO server; at most `most` of them are WebSockets."""

    def __init__(self, server: Any, namespace: str, most: int) -> None:
        self._server = server
        self._namespace = namespace
        self._most = most
        self._open: dict[str, _Connection] = {}
        self._lock = Lock()
        self._enter = server.eio.handlers["connect"]
        self._leave = server.eio.handlers["disconnect"]
        server.eio.on("connect", self._on_connect)
        server.eio.on("disconnect", self._on_disconnect)

    def _on_connect(self, connection: str, environ: Mapping[str, Any]) -> Any:
        """Let a connection in, or say why not."""
        new = _Connection(str(environ.get("REMOTE_ADDR", "")), time.monotonic())
        with self._lock:
            sockets = {one: about for one, about in self._open.items() if self._is_websocket(one)}
            strangers = [one for one in sockets if not self._has_joined(one)]
            late = {one for one in strangers if new.since_s - sockets[one].since_s > JOIN_WITHIN_S}
            here = [one for one in strangers if sockets[one].address == new.address]
            if len(set(here) - late) >= STRANGERS_OF_AN_ADDRESS:
                refusal = "Too many connections of this address have not joined a namespace."
            elif len(sockets.keys() - late) >= self._most:
                refusal = "Too many connections are open. Try again later."
            else:
                refusal = None
                self._open[connection] = new
        for one in late:
            # Ending one waits for what it still has to be sent.
            self._server.start_background_task(self._server.eio.disconnect, one)
        return refusal or self._enter(connection, environ)

    def _on_disconnect(self, connection: str, reason: str) -> Any:
        with self._lock:
            self._open.pop(connection, None)
        return self._leave(connection, reason)

    def _is_websocket(self, connection: str) -> bool:
        try:
            return bool(self._server.eio.transport(connection) == "websocket")
        except KeyError:
            return False

    def _has_joined(self, connection: str) -> bool:
        manager = self._server.manager
        return manager.sid_from_eio_sid(connection, self._namespace) is not None
