"""A page that follows jobs, as the official Python client of Socket.IO."""

from queue import Queue
from typing import Any

from socketio.exceptions import ConnectionError

from tests.support.live_client import SocketClient
from tests.support.server import WAIT_S, Server

PATH = "/jobs"


class Page:
    """A connection to /jobs that keeps every event in order."""

    def __init__(self, server: Server, transport: str = "websocket", **more: Any) -> None:
        self.events: Queue[tuple[str, Any]] = Queue()
        self.socket = SocketClient(
            reconnection=False,
            websocket_extra_options={"suppress_origin": True},
            # Its default, 5 s, is too short for a busy machine.
            request_timeout=WAIT_S,
        )
        for name in ("job", "partial", "error", "disconnect", "connect_error"):
            self.socket.on(name, self._note(name), namespace=PATH)
        try:
            self.socket.connect(
                server.url, namespaces=[PATH], transports=[transport], wait_timeout=60, **more
            )
        except ConnectionError as error:
            told = [str(data) for _, data in list(self.events.queue)]
            self.close()
            raise ConnectionError(" ".join([*told, str(error)])) from error

    def _note(self, name: str) -> Any:
        return lambda *data: self.events.put((name, data[0] if data else None))

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.disconnect()

    def subscribe(self, *file_ids: str) -> Any:
        return self.call({"file_ids": list(file_ids)})

    def call(self, data: Any) -> Any:
        return self.socket.call("subscribe", data, namespace=PATH, timeout=WAIT_S)

    def next(self) -> tuple[str, Any]:
        return self.events.get(timeout=WAIT_S)

    def until_final(self) -> list[tuple[str, Any]]:
        """What comes up to the final state of a job."""
        found = [self.next()]
        while found[-1][0] != "job" or found[-1][1]["status"] in ("queued", "processing"):
            found.append(self.next())
        return found
