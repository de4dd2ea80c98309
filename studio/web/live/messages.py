"""Limits the size of Socket.IO messages, and reports those that are too large.

Engine.IO reads the whole message into memory and then closes the connection without a reason. Here
the excess is discarded as it arrives, and the connection stays open.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from wsproto.events import BytesMessage, Event, TextMessage

# A polling client sends all pending messages in one request, which may be this many times as large.
REQUEST_TIMES = 2
# A larger request is read up to this multiple of the limit, so that its sender gets the response.
DISCARD_TIMES = 8
PIECE_BYTES = 1 << 16


def install(server: Any, max_bytes: int, report: Callable[[str], None]) -> None:
    """Bound the messages of a Socket.IO server to `max_bytes` each.

    Replaces Engine.IO's handler of `message`, `handle_request`, and its factory of WebSockets, by
    ones that check the size before they call the original: Engine.IO's own bound closes the
    connection without an error that a client could show. `report` sends the client of a connection
    that error.
    """
    _Messages(server, max_bytes, report).replace_handlers()


class _Messages:
    """Limits the messages of a Socket.IO server to `max_bytes` each.

    `report` sends the error to the client of a connection. A binary message is not dropped but
    truncated, because an event waits for all its binary parts; its handler rejects it.
    """

    def __init__(self, server: Any, max_bytes: int, report: Callable[[str], None]) -> None:
        self._server = server
        self._max_bytes = max_bytes
        self._report = report
        self._take = server.eio.handlers["message"]
        self._answer = server.eio.handle_request
        self._make_websocket = server.eio._async["websocket"]

    def replace_handlers(self) -> None:
        engine = self._server.eio
        engine.on("message", self._on_message)
        engine.handle_request = self._handle_request
        # A copy, since the package shares this table between its servers.
        engine._async = {**engine._async, "websocket": self._websocket}

    def _on_message(self, connection: str, data: str | bytes) -> Any:
        # Engine.IO has removed the first character of a text, the packet type.
        if isinstance(data, str) and len(data) >= self._max_bytes - 1:
            self._report(connection)
            return None
        return self._take(connection, data)

    def _websocket(self, handler: Callable[[Any], Any], eio: Any) -> Any:
        """Engine.IO's WebSocket, with bounded messages."""

        def bounded_handler(websocket: Any) -> Any:
            protocol = websocket.ws.ws
            protocol.events = CutOff(protocol.events, self._max_bytes)
            return handler(websocket)

        return self._make_websocket(bounded_handler, eio)

    def _handle_request(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> Any:
        """Handle a request; one that is too large is reported and discarded."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        connection = parse_qs(str(environ.get("QUERY_STRING", ""))).get("sid", [""])[0]
        is_known = connection in self._server.eio.sockets
        is_allowed = length <= self._server.eio.max_http_buffer_size
        if environ.get("REQUEST_METHOD") != "POST" or is_allowed or not is_known:
            return self._answer(environ, start_response)
        self._report(connection)
        # An event whose binary part was in this request will never be complete.
        self._server._binary_packet.pop(connection, None)
        if length > DISCARD_TIMES * self._max_bytes:
            start_response("413 CONTENT TOO LARGE", [("Content-Type", "text/plain")])
            return [b'"The request is too large."']
        while length > 0 and (data := environ["wsgi.input"].read(min(length, PIECE_BYTES))):
            length -= len(data)
        return self._answer(
            {**environ, "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}, start_response
        )


class CutOff:
    """The events of a WebSocket, with messages truncated to `max_bytes`."""

    def __init__(self, events: Callable[[], Iterator[Event]], max_bytes: int) -> None:
        self._events = events
        self._max_bytes = max_bytes
        self._passed_bytes = 0

    def __call__(self) -> Iterator[Event]:
        for event in self._events():
            if not isinstance(event, TextMessage | BytesMessage):
                yield event
                continue
            data: Any = event.data[: self._max_bytes - self._passed_bytes]
            self._passed_bytes = 0 if event.message_finished else self._passed_bytes + len(data)
            yield replace(event, data=data)
