"""The items of a conversation: what was said between two commits, with their events."""

import math
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from studio.transcription.engine import RATE_HZ
from studio.transcription.line_breaks import joined_texts
from studio.transcription.live.endpoints import Span
from studio.transcription.live.events import Observer

SEND = Callable[[str, dict[str, Any]], None]
"""Sends an event of a type with these members; it must not block."""

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass
class _Item:
    """The utterances up to a commit: their texts, and how many are still to be decoded.

    `sent` is the text of the deltas so far. A dropped item sends nothing more.
    """

    item_id: str
    texts: list[str] = field(default_factory=list)
    sent: str = ""
    undecoded: int = 0
    seconds: float = 0.0
    is_committed: bool = False
    is_dropped: bool = False
    has_failed: bool = False


class Items(Observer):
    """Makes events of the utterances of one session. Thread-safe.

    With `has_turns`, each utterance is an item of its own, committed when it ends.
    """

    def __init__(self, send: SEND) -> None:
        self.has_turns = True
        # The end of the last turn, in seconds of the stream.
        self.turn_end_s = 0.0
        self._send = send
        self._lock = Lock()
        self._items: deque[_Item] = deque()
        # The item that is not committed yet.
        self._open: _Item | None = None
        self._last_id: str | None = None

    def began(self, start: int) -> None:
        with self._lock:
            item = self._opened()
            if self.has_turns:
                self._send(
                    "input_audio_buffer.speech_started",
                    {"audio_start_ms": _ms(start), "item_id": item.item_id},
                )

    def ended(self, span: Span) -> None:
        with self._lock:
            item = self._opened()
            item.undecoded += 1
            item.seconds += span.seconds
            if self.has_turns:
                self.turn_end_s = span.end / RATE_HZ
                self._send(
                    "input_audio_buffer.speech_stopped",
                    {"audio_end_ms": _ms(span.end), "item_id": item.item_id},
                )
                self._commit(item)

    def decoded(self, text: str | None) -> None:
        with self._lock:
            item = next(item for item in self._items if item.undecoded)
            item.undecoded -= 1
            if text is None:
                item.has_failed = True
            elif text:
                item.texts.append(text)
                self._send_delta(item, joined_texts(item.texts))
            self._complete(item)

    def interim(self, stable: str) -> None:
        """Send the words of the current utterance that have become stable."""
        with self._lock:
            undecoded = (item for item in self._items if item.undecoded)
            item = next(undecoded, self._open)
            if item is not None:
                self._send_delta(item, joined_texts([*item.texts, stable]))

    def commit(self) -> None:
        """End the open item; without one, an empty item is made."""
        with self._lock:
            item = self._opened()
            self._commit(item)
            self._complete(item)

    def clear(self) -> None:
        """Forget the open item."""
        with self._lock:
            item, self._open = self._open, None
            if item is not None:
                item.is_dropped = item.is_committed = True
                self._complete(item)
            self._send("input_audio_buffer.cleared", {})

    def _opened(self) -> _Item:
        if self._open is None:
            self._open = _Item(f"item_{secrets.token_hex(8)}")
            self._items.append(self._open)
        return self._open

    def _commit(self, item: _Item) -> None:
        item.is_committed, self._open = True, None
        self._send(
            "input_audio_buffer.committed",
            {"item_id": item.item_id, "previous_item_id": self._last_id},
        )
        self._last_id = item.item_id

    def _send_delta(self, item: _Item, text: str) -> None:
        """Send what a text has beyond the earlier deltas, which are never taken back."""
        if item.is_dropped or len(text) <= len(item.sent) or not text.startswith(item.sent):
            return
        delta, item.sent = text[len(item.sent) :], text
        self._send(
            f"{_TRANSCRIPTION}.delta",
            {"item_id": item.item_id, "content_index": 0, "delta": delta},
        )

    def _complete(self, item: _Item) -> None:
        """Send the whole text of an item, if it is committed and decoded."""
        if not item.is_committed or item.undecoded:
            return
        self._items.remove(item)
        if item.is_dropped:
            return
        if item.has_failed:
            error = {
                "type": "server_error",
                "code": "decoding_failed",
                "message": "A part of the audio could not be decoded.",
                "param": None,
            }
            self._send(
                f"{_TRANSCRIPTION}.failed",
                {"item_id": item.item_id, "content_index": 0, "error": error},
            )
            return
        usage = {"type": "duration", "seconds": math.ceil(item.seconds)}
        self._send(
            f"{_TRANSCRIPTION}.completed",
            {
                "item_id": item.item_id,
                "content_index": 0,
                "transcript": joined_texts(item.texts),
                "usage": usage,
            },
        )


def _ms(samples: int) -> int:
    return round(1000 * samples / RATE_HZ)
