"""One client of the Realtime API: handles its events in order, and sends those of its session."""

import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import Any

from simple_websocket import ConnectionClosed

from studio.errors import UnknownVariant
from studio.transcription.live.events import Advice, SessionError
from studio.transcription.live.receive import Receiver, chunk_bytes, receiver
from studio.transcription.live.session import Session
from studio.transcription.live.settings import check_settings
from studio.web.compat.openai.realtime.channel import Channel
from studio.web.compat.openai.realtime.configuration import PCM, Configuration
from studio.web.compat.openai.realtime.items import Items
from studio.web.live.server import Live

log = logging.getLogger(__name__)

ADVICE = Advice(
    too_long="The connection is closed after the last words. Connect again to continue.",
    idle="Send audio, or any other event, to keep it open.",
)
# Events for a client that does not read.
MAX_UNREAD = 10_000
# As in OpenAI's service. Errors repeat it, so its length limits the memory that they take.
MAX_EVENT_ID = 512
# Time to keep sending to a client after the end.
LINGER_S = 5.0
# OpenAI's service commits no less.
MIN_COMMIT_S = 0.1


class Connection:
    """A client, and the live session that transcribes what it sends.

    `is_stopping` returns whether the server is shutting down. Raises SessionError if the model does
    not exist.
    """

    def __init__(self, live: Live, model: str, is_stopping: Callable[[], bool]) -> None:
        self._live = live
        self._is_stopping = is_stopping
        self._outgoing: SimpleQueue[str | None] = SimpleQueue()
        self._items = Items(self._send)
        self._configuration = Configuration(f"sess_{secrets.token_hex(8)}", model)
        self._receiver: Receiver | None = None
        # Seconds of audio received, and up to the last event that emptied the buffer.
        self._received_s = self._emptied_s = 0.0
        # A configuration that waits for the end of an utterance, and the event that confirms it.
        self._update_to: tuple[Configuration, str] | None = None
        self._has_expired = False
        self._is_full = False
        self.session = Session(
            self._checked_settings(self._configuration),
            live.limits,
            self._emit,
            time.monotonic(),
            self._expire,
            observer=self._items,
            advice=ADVICE,
        )

    @property
    def session_id(self) -> str:
        return self._configuration.session_id

    def serve(self, channel: Channel) -> None:
        """Handle the events of the client until it leaves."""
        writer = Thread(target=self._write, args=(channel,), name="realtime", daemon=True)
        try:
            writer.start()
        except RuntimeError as error:
            log.warning("cannot serve a client of the Realtime API: %s", error)
            channel.close()
            return
        self._send("session.created", {"session": self._configuration.described()})
        try:
            while not self._has_ended and self._outgoing.qsize() < MAX_UNREAD:
                message = channel.receive()
                # A client that speaks without a pause must be told as well.
                if self._is_stopping():
                    self._send_error("server_stopping", "The server is shutting down.")
                    break
                self._update_later()
                if message is not None:
                    self._handle(message, channel)
        except (ConnectionClosed, OSError):
            # The client has left.
            pass
        finally:
            self._outgoing.put(None)
            # Longer than this, only a client that does not read would keep the writer.
            writer.join(LINGER_S)
            channel.close()
            if self._receiver is not None:
                self._receiver.close()

    def _write(self, channel: Channel) -> None:
        with suppress(ConnectionClosed, OSError):
            while (text := self._outgoing.get()) is not None:
                channel.send(text)
            channel.notify_shutdown(self._is_stopping())

    def _handle(self, message: str | bytes, channel: Channel) -> None:
        """Handle an event; an error is sent to the client."""
        event_id = None
        try:
            event = _parsed(message)
            event_id = event.get("event_id")
            self.session.keep_alive(time.monotonic())
            match event.get("type"):
                case "session.update":
                    self._update(self._latest.updated(event.get("session")), "session.updated")
                case "transcription_session.update":
                    self._update(
                        self._latest.updated_as_before(event.get("session")),
                        "transcription_session.updated",
                    )
                case "input_audio_buffer.append":
                    self._append(event.get("audio"), channel)
                case "input_audio_buffer.commit":
                    self._commit()
                case "input_audio_buffer.clear":
                    self._clear()
                case kind:
                    raise SessionError("unknown_event", f"The event {kind!r:.100} is unknown.")
        except SessionError as error:
            self._send_error(error.code, error.message, event_id)
        self._live.scheduler.wake()

    @property
    def _latest(self) -> Configuration:
        return self._update_to[0] if self._update_to is not None else self._configuration

    def _update(self, changed: Configuration, answer: str) -> None:
        """Change the configuration, at once or as soon as the current utterance has ended."""
        self._checked_settings(changed)
        self._update_to = changed, answer
        self._try_update()

    def _update_later(self) -> None:
        """Apply a configuration that waits. Its variant may have been deleted in the meantime."""
        try:
            self._try_update()
        except SessionError as error:
            self._send_error(error.code, error.message)

    def _try_update(self) -> None:
        """Apply a configuration that waits, if possible now. Raises SessionError if it never is."""
        if self._update_to is None:
            return
        changed, answer = self._update_to
        try:
            self.session.configure(self._checked_settings(changed), changed.detect_again)
        except SessionError as error:
            if error.code == "utterance_running":
                return
            self._update_to = None
            raise
        if changed.rate_hz != self._configuration.rate_hz:
            self._receiver = None
        self._configuration, self._update_to = replace(changed, detect_again=False), None
        self._items.has_turns = changed.silence_ms is not None
        self._send(answer, {"session": changed.described()})

    def _append(self, audio: Any, channel: Channel) -> None:
        if not isinstance(audio, str):
            raise SessionError("bad_audio", "`audio` must be base64 text.")
        # The WebSocket has a limit already.
        data = chunk_bytes(audio, max_bytes=len(audio))
        if self._receiver is None:
            self._receiver = receiver(f"{PCM};rate={self._configuration.rate_hz}")
        size = self._live.limits.chunk_bytes
        for piece in (data[start : start + size] for start in range(0, len(data), size)):
            seconds = self._receiver.seconds(piece)
            try:
                self._wait_for_room(seconds, channel)
            except SessionError as error:
                if error.code == "session_too_long" and not self._is_full:
                    self._is_full = True
                    self._end_item()
                raise
            self.session.feed(self._receiver.feed(piece), time.monotonic())
            self._received_s += seconds

    def _wait_for_room(self, seconds: float, channel: Channel) -> None:
        """Wait until the session takes this much more audio. Raises SessionError if it never will,
        and ConnectionClosed if the client has left."""
        while True:
            try:
                self.session.admit(seconds)
                return
            except SessionError as error:
                if error.code != "too_far_behind" or self._has_expired or self._is_stopping():
                    raise
            if self.session.due() is None:
                # Nothing can be decoded before there is more audio.
                return
            self.session.note_backlog(seconds, time.monotonic())
            self._live.scheduler.wake()
            channel.pause()

    def _commit(self) -> None:
        buffer_s = max(0.0, self._received_s - max(self._emptied_s, self._items.turn_end_s))
        if buffer_s < MIN_COMMIT_S:
            raise SessionError(
                "input_audio_buffer_commit_empty",
                f"The buffer has {buffer_s:.2f} s of audio; at least {MIN_COMMIT_S} s are needed "
                "to commit it.",
            )
        self._end_item()

    def _end_item(self) -> None:
        self._emptied_s = self._received_s
        has_ended = self.session.end_utterance(time.monotonic())
        if not (has_ended and self._items.has_turns):
            self._items.commit()

    def _clear(self) -> None:
        self.session.discard()
        self._emptied_s = self._received_s
        self._items.clear()

    def _checked_settings(self, configuration: Configuration) -> Any:
        settings = configuration.settings(self._live.default)
        try:
            check_settings(settings, self._live.catalogue)
        except SessionError as error:
            if error.code != UnknownVariant.code:
                raise
            raise SessionError(
                "model_not_found",
                f"The model {configuration.model!r:.100} does not exist. Available: "
                f"whisper-1, {', '.join(self._live.catalogue.names())}.",
            ) from None
        return settings

    def _emit(self, event: str, data: dict[str, Any]) -> None:
        """Take an event of the live session."""
        if event == "transcription" and not data["is_final"]:
            self._items.interim(data["stable"])
        elif event == "error":
            self._send_error(data["code"], data["message"])

    def _expire(self) -> None:
        self._has_expired = True

    @property
    def _has_ended(self) -> bool:
        """Whether nothing more will come, except what has been sent already."""
        return self._has_expired or (self._is_full and not self.session.is_speaking)

    def _send_error(self, code: str, message: str, event_id: Any = None) -> None:
        kind = "server_error" if code in ("internal_error", "server_stopping") else None
        error = {
            "type": kind or "invalid_request_error",
            "code": code,
            "message": message,
            "param": None,
            "event_id": event_id if _is_event_id(event_id) else None,
        }
        self._send("error", {"error": error})

    def _send(self, kind: str, members: dict[str, Any]) -> None:
        event = {"type": kind, "event_id": f"event_{secrets.token_hex(8)}", **members}
        # In ASCII, because clients can send half a surrogate pair, which has no UTF-8.
        self._outgoing.put(json.dumps(event))


def _is_event_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_EVENT_ID


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise SessionError("invalid_json", "An event must be a JSON object.")
    return event
