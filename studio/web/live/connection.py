"""An Engine.IO connection that closes at the first malformed packet."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock
from typing import Any

from engineio import packet
from engineio.exceptions import EngineIOError, SocketIsClosedError
from engineio.socket import Socket
from simple_websocket import ConnectionClosed

# Packet types that a connected client may send.
RECEIVED = (packet.PONG, packet.MESSAGE, packet.CLOSE)
# Enough for a CONNECT packet with a key.
STRANGER_BYTES = 8192
# Pending packets for a client that does not read, and their size.
MAX_UNREAD = 20_000
MAX_UNREAD_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 1.0
# Less than between two pings.
JOIN_WITHIN_S = 10.0
# The first character is the Socket.IO packet type.
CONNECT = "0"


class StrictConnection(Socket):  # type: ignore[misc]
    """A strict connection; `take` turns an Engine.IO connection into one.

    `_is_stranger` returns whether it has joined no namespace, and `_has_joined` whether it has
    joined a given one; `_refuse` closes it and logs the reason.
    """

    _has_joined: Callable[[str], bool]
    _is_stranger: Callable[[], bool]
    _refuse: Callable[[str], None]
    _ended: Event
    _unread_bytes: int
    _counting: Lock

    @classmethod
    def take(
        cls,
        made: Socket,
        has_joined: Callable[[str], bool],
        is_stranger: Callable[[], bool],
        refuse: Callable[[str], None],
    ) -> None:
        """Make a connection strict."""
        made.__class__ = cls
        made._has_joined, made._is_stranger, made._refuse = has_joined, is_stranger, refuse
        made._ended = Event()
        made._unread_bytes, made._counting = 0, Lock()

    def receive(self, pkt: Any) -> None:
        if self.closing or self.closed:
            raise SocketIsClosedError
        if pkt.packet_type not in RECEIVED:
            self._refuse(f"a packet of the type {pkt.packet_type}")
        elif pkt.packet_type == packet.MESSAGE and (reason := self._protocol_error(pkt.data)):
            self._refuse(reason)
        else:
            super().receive(pkt)
        if self.closed and pkt.packet_type != packet.CLOSE:
            raise SocketIsClosedError

    def _protocol_error(self, message: Any) -> str | None:
        """What is wrong with a Socket.IO message, judged by its beginning."""
        is_connect = isinstance(message, str) and message[:1] == CONNECT
        if self._is_stranger():
            is_short = len(message) <= STRANGER_BYTES
            return None if is_connect and is_short else "a message that is no short CONNECT"
        # A namespace may be followed by a query, which Socket.IO ignores.
        namespace = re.split("[?,]", message[1:], maxsplit=1)[0] if is_connect else ""
        if is_connect and self._has_joined(namespace):
            return "a second CONNECT"
        return None

    def close(self, *arguments: Any, **more: Any) -> None:
        super().close(*arguments, **more)
        self._ended.set()

    def _send_ping(self) -> None:
        """Like Engine.IO's method, but the waiting thread ends with the connection, and closes one
        that is in no namespace."""
        if self._ended.wait(JOIN_WITHIN_S):
            return
        if self._is_stranger():
            self._refuse("it is in no namespace")
        elif not self._ended.wait(self.server.ping_interval - JOIN_WITHIN_S):
            self.last_ping = time.monotonic()
            self.send(packet.Packet(packet.PING))

    def check_ping_timeout(self) -> bool:
        """Like Engine.IO's method, but with a monotonic clock, and closing on another thread.

        `send` calls this, and senders hold locks that the handlers of `disconnect` take.
        """
        if self.closed:
            raise SocketIsClosedError
        pinged_s = self.last_ping
        is_late = pinged_s and time.monotonic() - pinged_s > self.server.ping_timeout
        if not is_late or self.closing:
            return True
        reason = self.server.reason.PING_TIMEOUT
        self.server.start_background_task(self.close, wait=False, abort=False, reason=reason)
        return False

    def send(self, pkt: Any) -> None:
        is_full = self.queue.qsize() > MAX_UNREAD or self._unread_bytes > MAX_UNREAD_BYTES
        if is_full and not self.closing:
            self.server.start_background_task(self._refuse, "it reads nothing")
            return
        with self._counting:
            self._unread_bytes += _size_bytes(pkt)
        super().send(pkt)

    def poll(self) -> list[Any]:
        packets: list[Any] = super().poll()
        with self._counting:
            self._unread_bytes -= sum(map(_size_bytes, packets))
        return packets

    def handle_post_request(self, environ: dict[str, Any]) -> None:
        try:
            super().handle_post_request(environ)
        except EngineIOError:
            raise
        except Exception as error:
            self._refuse(describe(error))
            raise SocketIsClosedError from error

    def _websocket_handler(self, ws: Any) -> Any:
        try:
            return super()._websocket_handler(_Wire(ws, self.server.max_http_buffer_size))
        except Exception as error:
            self._refuse(describe(error))
            return []


def _size_bytes(pkt: Any) -> int:
    """The size of the data of a packet; of text, its characters."""
    return len(pkt.data) if isinstance(pkt.data, str | bytes) else 0


class _Wire:
    """A WebSocket for Engine.IO that closes as soon as a message exceeds `max_bytes`, before all
    of it is in memory."""

    def __init__(self, ws: Any, max_bytes: int) -> None:
        self._ws = ws
        ws.ws.max_message_size = max_bytes
        self.send = ws.send

    def wait(self) -> Any:
        """The next message; None at the end."""
        while True:
            try:
                # simple-websocket does not wake the waiting thread if a message is too long.
                message = self._ws.ws.receive(timeout=LOOK_EVERY_S)
            except ConnectionClosed:
                return None
            if message is not None:
                return message

    def close(self) -> None:
        # Its thread may just have closed it.
        with suppress(OSError, ConnectionClosed):
            self._ws.close()


def describe(error: Exception) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {error}"[:200]
