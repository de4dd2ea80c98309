"""A speaker over the network: the official Python client, and all that the server tells it."""

import base64
import re
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import requests
import socketio
from engineio.payload import Payload
from socketio.exceptions import ConnectionError

from studio.transcription.engine import RATE_HZ, Speech
from tests.support.hearing import chunks
from tests.support.proxy import Proxy
from tests.support.server import WAIT_S, Server

NAMESPACE = "/transcribe"
EVENTS = (
    "connect", "disconnect", "connected", "configured", "error", "transcription", "lagging",
    "finished",
)  # fmt: skip
# The Python client, too, refuses more than 16 packets that were polled at once.
Payload.max_decode_packets = 10_000


def pcm(sound: Speech) -> bytes:
    """16-bit samples, little-endian."""
    return np.round(sound * 32767).astype("<i2").tobytes()


def chunk(data: Any, mime_type: str | None = "audio/pcm;rate=16000") -> dict[str, Any]:
    kind = {} if mime_type is None else {"mimeType": mime_type}
    return {"payload": {"data": data, **kind}}


class SocketClient(socketio.Client):  # type: ignore[misc]
    """The official client, without its wait at the end of a long poll.

    If it disconnects while it is sending, it does not tell the server, and its poll goes on until
    the next ping of the server, up to 25 s later.
    """

    def disconnect(self) -> None:
        if self.eio.state == "connected" and self.transport() == "polling":
            self.reconnection = False
            query = {"EIO": "4", "transport": "polling", "sid": self.eio.sid}
            self.eio.http.post(f"{self.connection_url}/socket.io/", params=query, data="1")
            self.eio.wait()
        super().disconnect()


class Client:
    """Connects, and notes every event in order. Over TLS it trusts the `certificate` alone."""

    def __init__(
        self,
        server: Server | Proxy,
        transport: str = "websocket",
        certificate: Path | None = None,
        reconnection: bool = False,
        **more: Any,
    ) -> None:
        self.events: Queue[tuple[str, Any]] = Queue()
        # The WebSocket package adds an Origin of its own, unless it is told not to.
        options = {"suppress_origin": True}
        self._ws: Any = None
        self._http = requests.Session()
        if certificate is not None:
            self._http.verify = str(certificate)
            self._http.trust_env = False
        self.socket = SocketClient(
            reconnection=reconnection,
            websocket_extra_options=options,
            http_session=self._http,
            # Its default, 5 s, is too short for a busy machine.
            request_timeout=WAIT_S,
        )
        for name in EVENTS:
            self.socket.on(name, self._note(name), namespace=NAMESPACE)
        self.socket.on("connect_error", self._note("connect_error"), namespace=NAMESPACE)
        try:
            self.socket.connect(
                server.url, namespaces=[NAMESPACE], transports=[transport], wait_timeout=60, **more
            )
        except ConnectionError as error:
            self.close()
            told = [str(data) for _, data in list(self.events.queue)]
            raise ConnectionError(" ".join([*told, str(error)])) from error
        self._ws = self.socket.eio.ws

    def _note(self, name: str) -> Any:
        return lambda *data: self.events.put((name, data[0] if data else None))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.reconnection = False
        self.socket.disconnect()
        self._http.close()
        # The package leaves a connection open that the server ended.
        if self._ws is not None:
            self._ws.shutdown()

    def next(self) -> tuple[str, Any]:
        return self.events.get(timeout=WAIT_S)

    def until(self, event: str) -> list[tuple[str, Any]]:
        """What comes up to an event."""
        found = [self.next()]
        while found[-1][0] != event:
            found.append(self.next())
        return found

    def greeting(self) -> dict[str, Any]:
        first, second = self.next(), self.next()
        assert {first[0], second[0]} == {"connect", "connected"}
        greeting: dict[str, Any] = dict([first, second])["connected"]
        return greeting

    def emit(self, event: str, *data: Any) -> None:
        self.socket.emit(event, *data, namespace=NAMESPACE)

    def call(self, event: str, *data: Any) -> Any:
        """Send an event; its acknowledgement."""
        return self.socket.call(event, *data, namespace=NAMESPACE, timeout=WAIT_S)

    def say(self, sound: Speech, *sizes: int, binary: bool = True) -> None:
        """Send a sound in chunks of these sizes, without waiting in between."""
        for part in chunks(sound, *sizes or (RATE_HZ // 4,)):
            data = pcm(part)
            self.emit("audio", chunk(data if binary else base64.b64encode(data).decode()))

    def finish(self) -> list[tuple[str, Any]]:
        """Send `finish`; what comes up to `finished`."""
        self.emit("finish")
        return self.until("finished")


def open_sessions(server: Server) -> int:
    value = re.search(r"^studio_live_sessions (\d+)\.0$", server.get("/metrics").text, re.M)
    assert value
    return int(value[1])


def finals(events: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [data for name, data in events if name == "transcription" and data["is_final"]]
