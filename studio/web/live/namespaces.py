"""What the Socket.IO namespaces have in common."""

import logging
from abc import ABC, abstractmethod
from typing import Any

from flask import request
from flask_socketio import ConnectionRefusedError, Namespace, SocketIO

from studio import logs
from studio.errors import TooManyRequests, Unauthorized
from studio.transcription.live.events import SessionError
from studio.web.access import Access, key_of
from studio.web.problems import for_caller

log = logging.getLogger(__name__)
defects = logs.RateLimitedLog(log)


class StrictNamespace(ABC, Namespace):  # type: ignore[misc]
    """Handles events in methods `on_<event>`; the reserved names cannot be sent as events."""

    def __init__(self, path: str, socketio: SocketIO, access: Access) -> None:
        super().__init__(path)
        self._path = path
        self._server = socketio
        self._access = access

    @abstractmethod
    def is_open(self, sid: str) -> bool:
        """Whether a client has connected."""

    def trigger_event(self, event: Any, *args: Any) -> Any:
        """Handle an event. Ignores `connect` and `disconnect` sent by clients as events."""
        sid = args[0]
        if not isinstance(event, str) or (event == "connect" and self.is_open(sid)):
            return None
        if event == "disconnect" and self._server.server.manager.is_connected(sid, self._path):
            return None
        return super().trigger_event(event, *args)

    def owner_of(self, auth: Any) -> str | None:
        """The owner who connects, by the API key in `auth`: {"token": KEY} or {"api_key": KEY}.

        Raises ConnectionRefusedError.
        """
        try:
            return self._access.owner_of_socket(auth)
        except Unauthorized:
            raise connection_refusal(
                "unauthorized",
                "This server requires an API key. Send it as auth: {token: KEY}."
                if key_of(auth) is None
                else "The API key is not valid for this server. Check it.",
            ) from None
        except TooManyRequests as error:
            raise connection_refusal("too_many_requests", error.sentence) from None


def connection_refusal(code: str, sentence: str) -> ConnectionRefusedError:
    """The `connect_error` of a refused client: a message, and data with a code."""
    return ConnectionRefusedError(sentence, {"code": code})


def problem_of(error: Exception) -> dict[str, str]:
    """The data of the event `error` for an exception; one that nobody expects is logged."""
    if isinstance(error, SessionError):
        return {"code": error.code, "message": error.message}
    known = for_caller(error)
    if known is not error:
        on_defect(error)
    return {"code": known.code, "message": known.sentence}


def on_defect(error: Exception) -> None:
    """Log an unhandled error of an event handler; the connection stays open."""
    defects.exception("unhandled error in an event", error=error)


def notify_shutdown(socketio: SocketIO, path: str) -> None:
    """Notify all clients that the server is shutting down, and close their connections."""
    problem = {
        "code": "server_stopping",
        "message": "The server is shutting down. Reconnect later.",
    }
    socketio.emit("error", problem, namespace=path)
    manager = socketio.server.manager
    for sid, _ in list(manager.get_participants(path, None)):
        socketio.server.disconnect(sid, namespace=path)


def event_sid() -> str:
    """The session ID of the client that sent the current event."""
    return str(request.sid)  # type: ignore[attr-defined]
