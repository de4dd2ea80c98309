"""A WebSocket whose client can neither fill the memory nor hold a thread after it has left."""

import socket
from threading import Condition
from typing import Any

import simple_websocket
from flask import Response

from studio.web.sockets import hang_up

# Messages that have arrived and were not handled yet; beyond them, the client has to wait.
MAX_UNHANDLED = 16
PING_EVERY_S = 25
LOOK_EVERY_S = 1.0
SUBPROTOCOL = "realtime"


class _Inbox(list[Any]):
    """The messages that have arrived. Adding one waits until there is room; when the inbox is
    closed, it is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = Condition()
        self._is_open = True

    def append(self, message: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self) < MAX_UNHANDLED or not self._is_open)
            if self._is_open:
                super().append(message)

    def pop(self, index: Any = -1) -> Any:
        with self._changed:
            message = super().pop(index)
            self._changed.notify()
            return message

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()


class _Server(simple_websocket.Server):  # type: ignore[misc]
    """A WebSocket that reads no more than is handled."""

    def handshake(self) -> None:
        self.input_buffer = _Inbox()
        super().handshake()


class Channel:
    """The WebSocket of the current request; `tcp` is a second handle of its socket."""

    def __init__(
        self, environ: dict[str, Any], tcp: socket.socket | None, max_message_bytes: int
    ) -> None:
        self._tcp = tcp
        self._ws = _Server(
            environ,
            subprotocols=[SUBPROTOCOL],
            ping_interval=PING_EVERY_S,
            max_message_size=max_message_bytes,
        )

    def receive(self) -> str | bytes | None:
        """The next message; None if there is none for a while. Raises ConnectionClosed."""
        message: str | bytes | None = self._ws.receive(timeout=LOOK_EVERY_S)
        return message

    def send(self, text: str) -> None:
        """Send a message. Raises ConnectionClosed or OSError."""
        self._ws.send(text)

    def notify_shutdown(self) -> None:
        """Send the end of the connection; nothing can be sent afterwards. Raises as `send`."""
        self._ws.close()

    def close(self) -> None:
        """End all threads of the connection, even if the client does not read."""
        self._ws.input_buffer.close()
        if self._tcp is not None:
            hang_up(self._tcp)

    def response(self) -> Response:
        """What the view returns: nothing more may be sent."""
        return _Over(self._ws.mode)


class _Over(Response):
    """Ends a request whose socket has become a WebSocket."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    def __call__(self, *_arguments: Any) -> Any:
        # gunicorn and Werkzeug take these as the end of the connection.
        raise StopIteration if self._server == "gunicorn" else ConnectionError
