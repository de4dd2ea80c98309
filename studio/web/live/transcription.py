"""The Socket.IO namespace `/transcribe`.

Handlers accept audio and return; the scheduler's thread decodes it. `docs/protocol.md` describes
the events.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from threading import Lock
from typing import Any

from flask import request
from flask_socketio import SocketIO
from pydantic import ValidationError

from studio.inference.variants import Catalogue
from studio.transcription.catalogue import WhisperVariant
from studio.transcription.live.events import Advice, SessionError
from studio.transcription.live.receive import Receiver, chunk_bytes, receiver
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.session import Session
from studio.transcription.live.settings import Limits, LiveSettings, check_settings
from studio.web.access import Access
from studio.web.live.namespaces import StrictNamespace, connection_refusal, event_sid, problem_of

PATH = "/transcribe"
PROTOCOL = 1
DEFAULT_MIME_TYPE = "audio/pcm;rate=16000"
ADVICE = Advice(too_long="Send `finish`, then continue.", idle="Send `keepalive` to keep it open.")

Answer = dict[str, Any] | None

log = logging.getLogger(__name__)


class _Incoming:
    """The audio of one client, decoded by a receiver for its MIME type.

    A polling client may send from several threads at once, hence the lock. `errors` counts rejected
    events; `began_s` is monotonic.
    """

    def __init__(self, session: Session, began_s: float) -> None:
        self.began_s = began_s
        self.session = session
        self.lock = Lock()
        self.errors = 0
        self._mime_type = ""
        self._receiver: Receiver | None = None

    def take(self, mime_type: str, data: bytes) -> None:
        """Pass a chunk to the session. Raises SessionError.

        An error of the previous recording is raised after the first chunk of the new one has been
        accepted.
        """
        known, broken = self._receiver, None
        if known is None or mime_type != self._mime_type or known.is_new(data):
            known = receiver(mime_type)
            try:
                self.end()
            except SessionError as error:
                broken = error
            self._mime_type, self._receiver = mime_type, known
        self._admit(known, data)
        self.session.feed(known.feed(data), time.monotonic())
        if broken is not None:
            raise broken

    def _admit(self, known: Receiver, data: bytes) -> None:
        seconds = known.seconds(data)
        try:
            self.session.admit(seconds)
        except SessionError as error:
            if error.code == "too_far_behind":
                known.reject(data)
            raise

    def lose(self) -> None:
        """Note that a chunk of the recording is missing."""
        if self._receiver is not None:
            self._receiver.reject(None)

    def end(self) -> None:
        """End the recording and pass on its rest. Raises SessionError."""
        known, self._receiver = self._receiver, None
        if known is not None:
            self.session.feed(known.finish(), time.monotonic())

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()


class Transcribe(StrictNamespace):
    """The events of one server. The greeting is called `connected`, because `connect` is reserved
    and the official clients reject it as a message.

    `default` is the variant of Whisper unless a client chooses another one of `catalogue`.
    """

    def __init__(
        self,
        socketio: SocketIO,
        scheduler: Scheduler,
        limits: Limits,
        *,
        default: str,
        catalogue: Catalogue[WhisperVariant],
        access: Access,
    ) -> None:
        super().__init__(PATH, socketio, access)
        self._scheduler = scheduler
        self._limits = limits
        self._default = default
        self._catalogue = catalogue
        self._incoming: dict[str, _Incoming] = {}

    def on_connect(self, auth: Any = None) -> None:
        """`auth` contains the API key, if required: {"token": KEY} or {"api_key": KEY}."""
        owner = self.owner_of(auth)
        sid = event_sid()
        settings = LiveSettings(variant=self._default)
        began_s = time.monotonic()
        session = Session(
            settings,
            self._limits,
            lambda event, data: self._send(sid, event, data),
            began_s,
            lambda: self._server.server.disconnect(sid, namespace=PATH),
            advice=ADVICE,
        )
        client = self._access.client(owner, request.remote_addr)
        try:
            self._scheduler.add(sid, session, client)
        except SessionError as error:
            raise connection_refusal(error.code, error.message) from None
        self._incoming[sid] = _Incoming(session, began_s)
        log.info("live session %s of %s started", sid, request.remote_addr)
        self._send(sid, "connected", self._greeting(settings))

    def on_disconnect(self, reason: Any = None) -> None:
        sid = event_sid()
        self._scheduler.remove(sid)
        incoming = self._incoming.pop(sid, None)
        if incoming is not None:
            with incoming.lock:
                incoming.close()
            _log_end(sid, incoming, str(reason))

    def is_open(self, sid: str) -> bool:
        return sid in self._incoming

    # Extra arguments of events are ignored.

    def on_audio(self, message: Any = None, *_more: Any) -> Answer:
        return self._answered(lambda incoming: self._audio(incoming, message))

    def on_finish(self, *_more: Any) -> Answer:
        return self._answered(self._finish)

    def on_configure(self, message: Any = None, *_more: Any) -> Answer:
        return self._answered(lambda incoming: self._configure(incoming.session, message))

    def on_keepalive(self, *_more: Any) -> Answer:
        return self._answered(lambda _: None)

    def _answered(self, act: Callable[[_Incoming], None]) -> Answer:
        """Call `act` for the session of this client and return the acknowledgement."""
        sid = event_sid()
        incoming = self._incoming.get(sid)
        if incoming is None:
            return None
        session = incoming.session
        session.keep_alive(time.monotonic())
        try:
            with incoming.lock:
                act(incoming)
        except Exception as error:
            incoming.errors += 1
            problem = problem_of(error)
            self._send(sid, "error", problem)
            return {**session.times(), "error": problem}
        self._scheduler.wake()
        return session.times()

    def _audio(self, incoming: _Incoming, message: Any) -> None:
        payload = message.get("payload") if isinstance(message, dict) else None
        if not isinstance(payload, dict) or "data" not in payload:
            raise SessionError(
                "bad_audio",
                '`audio` requires {"payload": {"data": base64 or binary, "mimeType": '
                f'"{DEFAULT_MIME_TYPE}"}}}}.',
            )
        mime_type = payload.get("mimeType", DEFAULT_MIME_TYPE)
        if not isinstance(mime_type, str):
            raise SessionError("unknown_mime_type", "`mimeType` must be a string.")
        try:
            data = chunk_bytes(payload["data"], self._limits.chunk_bytes)
        except SessionError as error:
            if error.code == "chunk_too_large":
                incoming.lose()
            raise
        incoming.take(mime_type, data)

    def _finish(self, incoming: _Incoming) -> None:
        try:
            incoming.end()
        finally:
            incoming.session.finish(time.monotonic())
            self._scheduler.wake()

    def _configure(self, session: Session, message: Any) -> None:
        try:
            settings = LiveSettings(
                **{**session.settings.model_dump(), **(message if message is not None else {})}
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise SessionError(
                "invalid_setting", f"{name!r} is {first['input']!r:.80}: {first['msg']}."
            ) from None
        except TypeError:
            raise SessionError("invalid_setting", "`configure` requires an object.") from None
        check_settings(settings, self._catalogue)
        session.configure(settings, detect_again=message is not None and "language" in message)
        self._send(event_sid(), "configured", self._greeting(settings))

    def _greeting(self, settings: LiveSettings) -> dict[str, Any]:
        return {
            "message": "Connected to transcription service",
            "protocol": PROTOCOL,
            "settings": settings.model_dump(),
            "limits": asdict(self._limits),
        }

    def _send(self, sid: str, event: str, data: dict[str, Any]) -> None:
        self._server.emit(event, data, to=sid, namespace=PATH)


def report_too_large(socketio: SocketIO, max_bytes: int, connection: str) -> None:
    """Send an error to the client of an Engine.IO connection whose message was too large."""
    sid = socketio.server.manager.sid_from_eio_sid(connection, PATH)
    if sid is not None:
        sentence = (
            f"A message had more than {max_bytes:,} bytes and was rejected. Send shorter ones."
        )
        problem = {"code": "chunk_too_large", "message": sentence}
        socketio.emit("error", problem, to=sid, namespace=PATH)


def _log_end(sid: str, incoming: _Incoming, reason: str) -> None:
    figures = incoming.session.figures()
    fields = {
        "session": sid,
        "client": request.remote_addr,
        "lasted_s": round(time.monotonic() - incoming.began_s, 3),
        "audio_s": round(figures.audio_s, 3),
        "decoding_s": round(figures.decoding_s, 3),
        "segments": figures.segments,
        "errors": incoming.errors,
        "reason": reason,
    }
    log.info(
        "live session %(session)s of %(client)s ended (%(reason)s) after %(lasted_s).1f s: "
        "%(audio_s).1f s of audio, %(segments)d segments, %(decoding_s).1f s of decoding, "
        "%(errors)d errors",
        fields,
        extra={"fields": fields},
    )
