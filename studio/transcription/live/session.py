"""One speaker: the sound that came, the utterances in it, and what was understood of them.

A session knows nothing of sockets, threads or clocks: sound is fed to it, the scheduler asks it
what to decode next and hands it the result, and it tells `emit` what to send. Every call that
depends on time is given the time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech, is_silence
from studio.transcription.live.endpoints import AFTER_SAMPLES, Endpoints, Span
from studio.transcription.live.events import SessionError, Utterance
from studio.transcription.live.loops import without_loops
from studio.transcription.live.settings import Limits, LiveSettings
from studio.transcription.live.tasks import Closed, Early, Following, Task
from studio.transcription.transcript import Segment

Emit = Callable[[str, dict[str, Any]], None]

# An utterance shorter than this is padded with silence before it is decoded.
SHORTEST_S = 1.0
# The client is told that the machine lags from so many seconds on, and down to so many.
LAGS_FROM_S = 3.0
LAGS_TO_S = 1.0
# While it does, it is told again whenever the lag has changed by so much.
LAG_STEP_S = 2.0
# What a model hears in breath and music is more probable than this here and there. Speech that it
# takes for none is rare, and in a pause between utterances a word is invented sooner than said.
MIN_LOG_PROBABILITY = -0.5


@dataclass(frozen=True)
class Figures:
    """What a session did: seconds of sound and of decoding, and segments that were sent."""

    audio_s: float = 0.0
    decoding_s: float = 0.0
    segments: int = 0


class Session:
    """The state of one speaker. Thread-safe; `emit` must not call it back."""

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
        self.interim_every_s = 0.5
        self._last_contact_s = now_s
        self._last_sound_s = now_s
        self._limits = limits
        self._emit = emit
        self._lock = Lock()
        self._finished = Figures()
        self._begin()

    def _begin(self) -> None:
        self.language = self.settings.language
        self._endpoints = Endpoints(self.settings.endpointing_ms)
        self._sound = np.zeros(0, np.float32)
        self._sound_from = 0
        self._received = 0
        self._decoded_to = 0
        self._closed: deque[Closed] = deque()
        self._early: Early | None = None
        self._utterance = Utterance(0, self.settings.words)
        self._texts: list[str] = []
        self._busy = False
        self._finishing = False
        self._decoding_s = 0.0
        self._told_lag_s = 0.0

    def configure(self, settings: LiveSettings) -> None:
        """Change the settings. Raises SessionError while something is being said."""
        with self._lock:
            if self._endpoints.voice_from is not None or self._closed or self._busy:
                raise SessionError(
                    "utterance_running",
                    "Settings can only change between utterances. Wait for the final text, then "
                    "send `configure` again.",
                )
            before, self.settings = self.settings, settings
            if (before.language, before.variant) != (settings.language, settings.variant):
                self.language = settings.language
            self._endpoints.endpointing_ms = settings.endpointing_ms
            self._utterance.with_words = settings.words

    def admit(self, seconds: float) -> None:
        """Whether so much more sound can be taken now. Raises SessionError with the bound."""
        with self._lock:
            if self._finishing:
                sentence = "The last words are still being decoded. Wait for `finished`."
                raise SessionError("finishing", sentence)
            if self._received / RATE_HZ + seconds > self._limits.length_s:
                raise SessionError(
                    "session_too_long",
                    f"A session may be {self._limits.length_s:g} s long. Send `finish`, then "
                    "continue.",
                )
            waiting_s = self._waiting_s()
            if waiting_s > 0 and waiting_s + seconds > self._limits.waiting_s:
                raise SessionError(
                    "too_far_behind",
                    f"{waiting_s:.0f} s of audio are waiting to be decoded; this chunk was "
                    "rejected. Send it again later.",
                )

    def feed(self, speech: Speech, now_s: float) -> None:
        """Take what was said next."""
        with self._lock:
            self._last_contact_s = self._last_sound_s = now_s
            self._sound = np.concatenate([self._sound, speech])
            self._received += len(speech)
            self._close(self._endpoints.feed(speech), now_s)
            self._let_go()
            self._tell_lag()

    def keep_alive(self, now_s: float) -> None:
        """The client is there, though it says nothing."""
        with self._lock:
            self._last_contact_s = now_s

    def expires(self, now_s: float) -> bool:
        """Whether the client has sent nothing for too long, not even keepalive.

        An utterance that it left open is over then; the answer is no until that is decoded.
        """
        with self._lock:
            if now_s - self._last_contact_s <= self._limits.idle_s or self._finishing:
                return False
            self._close(self._endpoints.flush(), now_s)
            return not self._closed

    def expire(self) -> None:
        """Tell the client that its session is over."""
        sentence = (
            f"The session was closed because no message arrived for {self._limits.idle_s:g} s."
        )
        sentence += " Send `keepalive` to keep it open."
        self._emit("error", {"code": "idle", "message": sentence})
        self._on_expired()

    def finish(self, now_s: float) -> None:
        """Nothing more is said: what is left is decoded, then `finished` is sent."""
        with self._lock:
            self._last_contact_s = now_s
            if not self._finishing:
                self._close(self._endpoints.finish(), now_s)
                self._finishing = True

    def due(self) -> tuple[bool, float] | None:
        """Whether what is to be decoded next goes on, and since when it waits; None: nothing is."""
        with self._lock:
            following = self._following()
            if following is None:
                return None
            if following.is_final or following.is_early:
                return False, following.since_s
            if not self.settings.interim_results:
                return None
            if self._decodes_early and self._endpoints.is_pause:
                return None
            fresh_s = (following.span.end - max(following.span.start, self._decoded_to)) / RATE_HZ
            if fresh_s < self.interim_every_s:
                return None
            return True, following.since_s - fresh_s + self.interim_every_s

    def task(self) -> Task | None:
        """Take what is to be decoded next; its result must be given to `apply` or `fail`."""
        with self._lock:
            following = self._following()
            if following is None:
                return None
            self._busy = True
            speech = self._between(following.span)
            return Task(following.span, speech, following.is_final, following.is_early)

    def _following(self) -> Following | None:
        """What is to be decoded next: what has ended, what has probably ended, what goes on."""
        if self._closed:
            return Following(self._closed[0].span, self._closed[0].at_s, is_final=True)
        if (early := self._early_span()) is not None:
            return Following(early, self._last_sound_s, is_early=True)
        start = self._endpoints.voice_from
        if start is None:
            return None
        return Following(Span(start, self._endpoints.position), self._last_sound_s)

    def apply(self, task: Task, segments: Sequence[Segment], took_s: float) -> None:
        """Take the result of a task, and send what it says."""
        heard = without_loops([one for one in segments if not is_silence(one, MIN_LOG_PROBABILITY)])
        start_s, end_s = task.span.start / RATE_HZ, task.span.end / RATE_HZ
        segments = [segment.placed(start_s, end_s) for segment in heard]
        with self._lock:
            self._decoding_s += took_s
            event = self._result(task, segments)
            if event is not None:
                self._emit("transcription", event)
            self._settle()
            self._tell_lag()

    def fail(self, task: Task, code: str, message: str) -> None:
        """The engine could not decode a task. An utterance that has ended is given up, and the
        client is told; one that goes on is tried again."""
        with self._lock:
            event = self._result(task, None)
            if event is not None:
                self._emit("transcription", event)
            if task.is_final:
                self._emit("error", {"code": code, "message": message})

    def end_if_done(self) -> bool:
        """After `finish`: send `finished` and begin anew, once nothing is left to decode."""
        with self._lock:
            if not self._finishing or self._closed or self._busy:
                return False
            summary = {
                "text": " ".join(self._texts),
                "segments": self._utterance.segment,
                "audio_s": round(self._received / RATE_HZ, 3),
                "decoding_s": round(self._decoding_s, 3),
                "language": self.language,
            }
            self._finished = self._figures()
            self._begin()
            self._emit("finished", summary)
            return True

    def figures(self) -> Figures:
        """Since the connection began, however often the client has finished."""
        with self._lock:
            return self._figures()

    def _figures(self) -> Figures:
        return Figures(
            self._finished.audio_s + self._received / RATE_HZ,
            self._finished.decoding_s + self._decoding_s,
            self._finished.segments + self._utterance.segment,
        )

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
    def lag_s(self) -> float:
        """Seconds of sound that have come since there was something to decode."""
        with self._lock:
            return self._lag_s()

    @property
    def is_speaking(self) -> bool:
        """Whether there is something to decode, now or soon."""
        with self._lock:
            return bool(self._closed) or self._endpoints.voice_from is not None

    def _close(self, spans: Iterable[Span], now_s: float) -> None:
        self._closed.extend(Closed(span, now_s, self._received) for span in spans)
        self._settle()

    @property
    def _decodes_early(self) -> bool:
        """Whether an utterance is decoded once it has probably ended, during the silence that makes
        its end certain. Its result is the final text then, which so comes without delay."""
        return (
            self.language is not None
            and self.settings.endpointing_ms * RATE_HZ > 1000 * AFTER_SAMPLES
        )

    def _early_span(self) -> Span | None:
        """The utterance that has probably ended and was not decoded as such yet."""
        likely = self._endpoints.likely if self._decodes_early else None
        return None if self._early and self._early.span == likely else likely

    def _settle(self) -> None:
        """Make what has ended as foreseen final."""
        early = self._early
        while (
            early is not None
            and early.segments is not None
            and not self._busy
            and self._closed
            and self._closed[0].span == early.span
        ):
            event = self._final(early.span, early.segments)
            if event is not None:
                self._emit("transcription", event)

    def _waiting_s(self) -> float:
        """Seconds of sound from the first speech on that no decoding has covered yet."""
        if self._closed:
            start = self._closed[0].span.start
        elif self._endpoints.voice_from is not None and self.settings.interim_results:
            if self._early and self._early.span == self._endpoints.likely:
                return 0.0
            start = self._endpoints.voice_from
        else:
            return 0.0
        return max(0, self._received - max(start, self._decoded_to)) / RATE_HZ

    def _lag_s(self) -> float:
        """Seconds of sound that have come since there was something to decode."""
        if self._closed:
            return (self._received - self._closed[0].received) / RATE_HZ
        return self._waiting_s()

    def _between(self, span: Span) -> Speech:
        sound = self._sound[span.start - self._sound_from : span.end - self._sound_from]
        missing = round(SHORTEST_S * RATE_HZ) - len(sound)
        return np.pad(sound, (0, missing)) if missing > 0 else sound.copy()

    def _let_go(self) -> None:
        """Forget sound that nothing will ask for again, but a little silence before speech."""
        silence = round(self._limits.silence_s * RATE_HZ)
        needed = min(self._endpoints.position - silence, self._endpoints.needed_from)
        if self._closed:
            needed = min(needed, self._closed[0].span.start)
        if needed > self._sound_from:
            self._sound = self._sound[needed - self._sound_from :].copy()
            self._sound_from = needed

    def _result(self, task: Task, segments: Sequence[Segment] | None) -> dict[str, Any] | None:
        """The event that a result makes; `segments` is None where decoding failed."""
        self._busy = False
        self._decoded_to = task.span.end
        if task.is_final:
            return self._final(task.span, segments or [])
        if task.is_early:
            self._early = Early(task.span, segments)
        if segments is None or not self.settings.interim_results:
            return None
        return self._utterance.interim(task.span, segments, self.language)

    def _final(self, span: Span, segments: Sequence[Segment]) -> dict[str, Any] | None:
        """The event for the first of the utterances that have ended."""
        self._closed.popleft()
        self._let_go()
        event = self._utterance.final(span, segments, self.language)
        number = self._utterance.segment + (event is not None)
        self._utterance = Utterance(number, self.settings.words)
        if event is not None and event["transcription"]:
            self._texts.append(event["transcription"])
        return event

    def _tell_lag(self) -> None:
        """Say when the machine falls behind, how far, and when it has caught up."""
        lag_s, before_s = self._lag_s(), self._told_lag_s
        bound_s = LAGS_TO_S if before_s else LAGS_FROM_S
        told_s = round(lag_s, 1) if lag_s > bound_s + self.interim_every_s else 0.0
        if bool(told_s) != bool(before_s) or abs(told_s - before_s) >= LAG_STEP_S:
            self._told_lag_s = told_s
            self._emit("lagging", {"seconds": told_s})
