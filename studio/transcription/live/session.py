"""One speaker: the sound that came, the utterances in it, and what was understood of them.

A session knows nothing of sockets, threads or clocks: sound is fed to it, the scheduler asks it
what to decode next and hands it the result, and it tells `emit` what to send. Every call that
depends on time is given the time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech, is_silence
from studio.transcription.live.agreement import Agreement
from studio.transcription.live.endpoints import PAD, Endpoints, Span
from studio.transcription.live.loops import without_loops
from studio.transcription.live.settings import Limits, LiveSettings
from studio.transcription.transcript import Segment, Word

Emit = Callable[[str, dict[str, Any]], None]

# Sound shorter than this in all is padded with silence before it is decoded.
SHORTEST_S = 1.0


class SessionError(Exception):
    """What a client did wrong, or a bound that it met: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Task:
    """A stretch of sound to decode: an utterance that has ended, or one that goes on."""

    span: Span
    speech: Speech
    is_final: bool


class Session:
    """The state of one speaker. Thread-safe."""

    def __init__(
        self,
        settings: LiveSettings,
        limits: Limits,
        emit: Emit,
        now_s: float,
        on_expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_expired = on_expired
        self.settings = settings
        self.language = settings.language
        self.last_heard_s = now_s
        self.interim_every_s = 0.5
        self._limits = limits
        self._emit = emit
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._endpoints = Endpoints(self.settings.endpointing_ms)
        self._sound = np.zeros(0, np.float32)
        self._sound_from = 0
        self._received = 0
        self._decoded_to = 0
        self._closed: deque[tuple[Span, float]] = deque()
        self._agreement = Agreement()
        self._segment = 0
        self._texts: list[str] = []
        self._busy = False
        self._finishing = False
        self._decoding_s = 0.0
        self._lagging = False

    def configure(self, settings: LiveSettings) -> None:
        """Change the settings. Raises SessionError while something is being said."""
        with self._lock:
            if self._endpoints.voice_from is not None or self._closed or self._busy:
                raise SessionError(
                    "utterance_running",
                    "Settings change between utterances: wait for the final text, then send "
                    "configure again.",
                )
            if settings.endpointing_ms != self.settings.endpointing_ms:
                self._restart_endpoints(settings.endpointing_ms)
            self.settings = settings
            self.language = settings.language

    def _restart_endpoints(self, endpointing_ms: int) -> None:
        fresh = Endpoints(endpointing_ms)
        fresh.position = self._endpoints.position
        self._endpoints = fresh

    def feed(self, speech: Speech, now_s: float) -> None:
        """Take what was said next. Raises SessionError, and takes nothing, beyond a bound."""
        with self._lock:
            self.last_heard_s = now_s
            if self._finishing:
                raise SessionError(
                    "finishing", "The last words are still being decoded: wait for finished."
                )
            length_s = (self._received + len(speech)) / RATE_HZ
            if length_s > self._limits.length_s:
                raise SessionError(
                    "session_too_long",
                    f"A session may last {self._limits.length_s:g} s. Send finish, then go on.",
                )
            if self._waiting_s() + len(speech) / RATE_HZ > self._limits.waiting_s:
                raise SessionError(
                    "too_far_behind",
                    f"{self._waiting_s():.0f} s of sound wait to be decoded already; this chunk "
                    "was not taken. Send it again a little later.",
                )
            self._sound = np.concatenate([self._sound, speech])
            self._received += len(speech)
            for span in self._endpoints.feed(speech):
                self._closed.append((span, now_s))
            self._let_go()
        self._tell_lag()

    def has_expired(self, now_s: float) -> bool:
        """Whether the client has said nothing for too long, not even keepalive."""
        with self._lock:
            return now_s - self.last_heard_s > self._limits.idle_s

    def expire(self) -> None:
        """Tell the client that its session is over."""
        self._emit(
            "error",
            {
                "code": "idle",
                "message": f"Nothing came for {self._limits.idle_s:g} s, so the session was "
                "closed. Send keepalive to hold it open.",
            },
        )
        self._on_expired()

    def keep_alive(self, now_s: float) -> None:
        """The client is there, though it says nothing."""
        with self._lock:
            self.last_heard_s = now_s

    def finish(self, now_s: float) -> None:
        """Nothing more is said: what is left is decoded, then `finished` is sent."""
        with self._lock:
            self.last_heard_s = now_s
            spans = list(self._endpoints.finish())
            if not spans and not self._closed and 0 < self._received < SHORTEST_S * RATE_HZ:
                spans = [Span(0, self._received)]
            self._closed.extend((span, now_s) for span in spans)
            self._finishing = True

    def due(self) -> tuple[bool, float] | None:
        """Whether what is to be decoded next goes on, and since when it waits; None: nothing is."""
        with self._lock:
            if self._closed:
                return False, self._closed[0][1]
            start = self._endpoints.voice_from
            if start is None or not self.settings.interim_results:
                return None
            fresh_s = (self._endpoints.position - max(start, self._decoded_to)) / RATE_HZ
            return (True, self.last_heard_s - fresh_s) if fresh_s >= self.interim_every_s else None

    def task(self) -> Task | None:
        """Take what is due; its result must be given to `apply` or `fail`."""
        with self._lock:
            if self._closed:
                span = self._closed[0][0]
            elif self._endpoints.voice_from is not None:
                span = Span(self._endpoints.voice_from, self._endpoints.position)
            else:
                return None
            self._busy = True
            return Task(span, self._between(span), bool(self._closed))

    def apply(self, task: Task, segments: Sequence[Segment], took_s: float) -> None:
        """Take the result of a task, and send what it says."""
        segments = [
            without_loops(segment).placed(task.span.start / RATE_HZ, task.span.end / RATE_HZ)
            for segment in segments
            if not is_silence(segment)
        ]
        with self._lock:
            self._busy = False
            self._decoding_s += took_s
            self._decoded_to = task.span.end
            if task.is_final:
                self._closed.popleft()
                event = self._final(task.span, segments)
                self._let_go()
            else:
                event = self._interim(task.span, segments)
        if event is not None:
            self._emit("transcription", event)
        self._tell_lag()

    def fail(self, task: Task, code: str, message: str) -> None:
        """The engine could not decode a task; an utterance that has ended is given up."""
        with self._lock:
            self._busy = False
            self._decoded_to = task.span.end
            if task.is_final:
                self._closed.popleft()
        self._emit("error", {"code": code, "message": message})

    def end_if_done(self) -> bool:
        """After `finish`: send `finished` and begin anew, once nothing is left to decode."""
        with self._lock:
            if not self._finishing or self._closed or self._busy:
                return False
            summary = {
                "text": " ".join(self._texts),
                "segments": self._segment,
                "audio_s": round(self._received / RATE_HZ, 3),
                "decoding_s": round(self._decoding_s, 3),
                "language": self.language,
            }
            self._begin()
        self._emit("finished", summary)
        return True

    def times(self) -> dict[str, float]:
        """Seconds received, decoded and waiting, for acknowledgements."""
        with self._lock:
            waiting_s = self._waiting_s()
            received_s = self._received / RATE_HZ
            return {
                "received_s": round(received_s, 3),
                "decoded_s": round(max(0.0, received_s - waiting_s), 3),
                "waiting_s": round(waiting_s, 3),
            }

    @property
    def is_speaking(self) -> bool:
        """Whether there is something to decode, now or soon."""
        with self._lock:
            return bool(self._closed) or self._endpoints.voice_from is not None

    def _waiting_s(self) -> float:
        """Seconds of speech that no decoding has covered yet."""
        waiting = sum(span.end - span.start for span, _ in self._closed)
        if self._endpoints.voice_from is not None:
            start = max(self._endpoints.voice_from, self._decoded_to)
            waiting += max(0, self._received - start)
        return waiting / RATE_HZ

    def _between(self, span: Span) -> Speech:
        sound = self._sound[span.start - self._sound_from : span.end - self._sound_from]
        missing = round(SHORTEST_S * RATE_HZ) - len(sound)
        return np.pad(sound, (0, missing)) if missing > 0 else sound.copy()

    def _let_go(self) -> None:
        """Forget sound that nothing will ask for again, but a little silence before speech."""
        needed = self._endpoints.position - max(PAD, round(self._limits.silence_s * RATE_HZ))
        if self._endpoints.voice_from is not None:
            needed = min(needed, self._endpoints.voice_from)
        if self._closed:
            needed = min(needed, self._closed[0][0].start)
        if needed > self._sound_from:
            self._sound = self._sound[needed - self._sound_from :].copy()
            self._sound_from = needed

    def _final(self, span: Span, segments: Sequence[Segment]) -> dict[str, Any] | None:
        words = [word for segment in segments for word in segment.words]
        text = " ".join(segment.text.strip() for segment in segments)
        had_interim = bool(self._agreement.words)
        self._agreement = Agreement()
        if not text and not had_interim:
            return None
        if text:
            self._texts.append(text)
        event = self._event(span, text, words, is_final=True, stable=text)
        self._segment += 1
        return event

    def _interim(self, span: Span, segments: Sequence[Segment]) -> dict[str, Any] | None:
        self._agreement.update([word for segment in segments for word in segment.words])
        words = self._agreement.words
        if not words:
            return None
        text = _joined(words)
        return self._event(
            span, text, words, is_final=False, stable=_joined(self._agreement.committed)
        )

    def _event(
        self, span: Span, text: str, words: Sequence[Word], is_final: bool, stable: str
    ) -> dict[str, Any]:
        start_s = words[0].start_s if words else span.start / RATE_HZ
        end_s = words[-1].end_s if words else span.end / RATE_HZ
        event: dict[str, Any] = {
            "transcription": text,
            "is_final": is_final,
            "segment": self._segment,
            "start": round(start_s, 3),
            "end": round(end_s, 3),
            "language": self.language,
            "stable": stable,
        }
        if self.settings.words:
            event["words"] = [
                {
                    "text": word.text.strip(),
                    "start": word.start_s,
                    "end": word.end_s,
                    "probability": word.probability,
                }
                for word in words
            ]
        return event

    def _tell_lag(self) -> None:
        """Say when the machine falls behind, and when it has caught up."""
        with self._lock:
            waiting_s = self._waiting_s()
            lagging = waiting_s > (1.0 if self._lagging else 3.0) + self.interim_every_s
            changed, self._lagging = lagging != self._lagging, lagging
        if changed:
            self._emit("lagging", {"seconds": round(waiting_s, 1) if lagging else 0.0})


def _joined(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()
