"""The route of the Realtime API."""

import logging
import socket
from contextlib import nullcontext

from flask import Response, request
from wsproto.utilities import RemoteProtocolError

from studio.errors import (
    BadRequest,
    InvalidOption,
    TooManySessions,
    UnknownVariant,
)
from studio.transcription.live.events import SessionError
from studio.web.compat.openai import names
from studio.web.compat.openai.realtime.channel import Channel, NoThread
from studio.web.compat.openai.realtime.connection import Connection
from studio.web.live.server import Live
from studio.web.operations import other_protocol
from studio.web.services import Services
from studio.web.tcp import second_handle

log = logging.getLogger(__name__)

INTENT = "transcription"
# How pages send a key, because browsers allow no headers for a WebSocket.
KEY_PROTOCOL = "openai-insecure-api-key."
RETRY_AFTER_S = 10
# A minute of audio in base64. OpenAI takes more, but each session may hold several copies.
MAX_MESSAGE_BYTES = 4 << 20


class RealtimeView:
    """Opens WebSockets."""

    def __init__(self, services: Services, live: Live) -> None:
        self._services = services
        self._live = live
        services.access.accept(self._owner_by_protocol)

    @other_protocol("general")
    def realtime(self) -> Response:
        self._check_request()
        model = request.args.get("model") or names.DEFAULT
        try:
            connection = Connection(self._live, model, lambda: self._services.runner.is_stopping)
        except SessionError as error:
            raise UnknownVariant(error.message) from None
        client, scheduler = self._services.access.caller(), self._live.scheduler
        try:
            scheduler.add(connection.session_id, connection.session, client)
        except SessionError as error:
            raise TooManySessions(error.message, retry_after_s=RETRY_AFTER_S) from None
        try:
            with second_handle(request.environ) or nullcontext() as tcp:
                try:
                    channel = self._opened(tcp)
                except NoThread as error:
                    log.warning("cannot serve a client of the Realtime API: %s", error)
                    return error.response
                connection.serve(channel)
                return channel.response()
        finally:
            scheduler.remove(connection.session_id)

    def _check_request(self) -> None:
        """Raise an error unless a client asks for a WebSocket for transcription."""
        self._services.access.check_origin()
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest("This is the address of a WebSocket. Connect with wss:// or ws://.")
        intent = request.args.get("intent")
        if intent != INTENT:
            raise InvalidOption(
                f"`intent` is {intent!r}; this server only transcribes. Connect to "
                f"/v1/realtime?intent={INTENT}.",
                param="intent",
            )

    def _opened(self, tcp: socket.socket | None) -> Channel:
        try:
            return Channel(request.environ, tcp, MAX_MESSAGE_BYTES)
        except RemoteProtocolError as error:
            raise BadRequest(f"The WebSocket cannot be opened: {error}.") from None

    def _owner_by_protocol(self) -> str | None:
        """The owner whose key is in the subprotocols of a WebSocket; None: there is none."""
        for name in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if name.strip().startswith(KEY_PROTOCOL):
                return self._services.access.owner_of(name.strip().removeprefix(KEY_PROTOCOL))
        return None
