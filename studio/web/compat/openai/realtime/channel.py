"""A WebSocket whose client can neither fill the memory nor hold a thread after it has left."""

import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from sys import getsizeof
from threading import Condition
from typing import Any

import simple_websocket
from flask import Response

from studio.web.tcp import hang_up, has_left

# Messages that have arrived and were not handled yet; beyond them, the client has to wait. Minutes
# of audio have room, because pings of the client are not answered while it waits.
MAX_UNHANDLED_BYTES = 16 << 20
PING_EVERY_S = 25
LOOK_EVERY_S = 1.0
PAUSE_S = 0.2
# The close code for a restart of the server, after which OpenAI's client connects again.
SERVICE_RESTART = 1012
SUBPROTOCOL = "realtime"


class _Inbox(list[Any]):
    """The messages that have arrived. Adding one waits until there is room; when the inbox is
    closed, it is dropped. `on_full` is called before each wait."""

    def __init__(self, on_full: Callable[[], None]) -> None:
        super().__init__()
        self._on_full = on_full
        self._bytes = 0
        self._changed = Condition()
        self._is_open = True

    def append(self, message: Any) -> None:
        size = getsizeof(message)
        with self._changed:
            while self._is_open and self and self._bytes + size > MAX_UNHANDLED_BYTES:
                self._on_full()
                self._changed.wait()
            if self._is_open:
                super().append(message)
                self._bytes += size

    def pop(self, index: Any = -1) -> Any:
        with self._changed:
            message = super().pop(index)
            self._bytes -= getsizeof(message)
            self._changed.notify()
            return message

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()


class _Server(simple_websocket.Server):  # type: ignore[misc]
    """A WebSocket that reads no more than is handled."""

    def handshake(self) -> None:
        self.input_buffer = _Inbox(self._expect_no_pong)
        super().handshake()

    def _expect_no_pong(self) -> None:
        """The answer to a ping may be behind the messages that wait to be read."""
        self.pong_received = True

    def _handle_events(self) -> bool:
        # A client that is sending a large message cannot answer a ping before its end.
        self.pong_received = True
        return bool(super()._handle_events())


class NoThread(Exception):
    """A WebSocket was opened, but no thread can be started for it; `response` ends the request."""

    def __init__(self, cause: RuntimeError, response: Response) -> None:
        super().__init__(str(cause))
        self.response = response


class Channel:
    """The WebSocket of the current request; `tcp` is a second handle of its socket.

    Raises RemoteProtocolError if the request is not a valid WebSocket handshake, and NoThread if no
    thread can be started.
    """

    def __init__(
        self, environ: dict[str, Any], tcp: socket.socket | None, max_message_bytes: int
    ) -> None:
        self._tcp = tcp
        try:
            self._ws = _Server(
                environ,
                subprotocols=[SUBPROTOCOL],
                ping_interval=PING_EVERY_S,
                max_message_size=max_message_bytes,
            )
        except RuntimeError as error:
            if tcp is None:
                raise
            hang_up(tcp)
            raise NoThread(error, _Over("gunicorn.socket" in environ)) from None

    def receive(self) -> str | bytes | None:
        """The next message; None if there is none for a while. Raises ConnectionClosed."""
        message: str | bytes | None = self._ws.receive(timeout=LOOK_EVERY_S)
        return message

    def send(self, text: str) -> None:
        """Send a message. Raises ConnectionClosed or OSError."""
        self._ws.send(text)

    def pause(self) -> None:
        """Wait a moment. Raises ConnectionClosed if the client has left."""
        if not self._ws.connected or (self._tcp is not None and has_left(self._tcp)):
            raise simple_websocket.ConnectionClosed
        time.sleep(PAUSE_S)

    def notify_shutdown(self, is_restart: bool) -> None:
        """Send the end of the connection; nothing can be sent afterwards. Raises as `send`."""
        self._ws.close(SERVICE_RESTART if is_restart else None)

    def close(self) -> None:
        """End all threads of the connection, even if the client does not read."""
        self._ws.input_buffer.close()
        if self._tcp is not None:
            hang_up(self._tcp)

    def response(self) -> Response:
        """What the view returns: nothing more may be sent."""
        return _Over(self._ws.mode == "gunicorn")


class _Over(Response):
    """Ends a request whose socket has become a WebSocket."""

    def __init__(self, is_in_gunicorn: bool) -> None:
        # It was sent when the WebSocket was opened; this is for the log and the metrics.
        super().__init__(status=HTTPStatus.SWITCHING_PROTOCOLS)
        self._is_in_gunicorn = is_in_gunicorn

    def __call__(self, *_arguments: Any) -> Any:
        # gunicorn and Werkzeug take these as the end of the connection.
        raise StopIteration if self._is_in_gunicorn else ConnectionError
