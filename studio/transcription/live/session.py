"""One speaker: the received audio, its utterances, and their texts.

A session does not depend on sockets, threads or clocks: it is fed audio, the scheduler asks it what
to decode next and passes it the result, and it calls `emit` with the events to send. Calls that
depend on time get it as an argument.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

from studio.transcription.engine import RATE_HZ, Speech, is_silence
from studio.transcription.live.admission import check_backlog, check_length, idle
from studio.transcription.live.detection import Detected, Detection
from studio.transcription.live.endpoints import AFTER_SAMPLES, Endpoints, Span
from studio.transcription.live.events import Advice, Observer, SessionError, Utterance
from studio.transcription.live.lag import LagReport
from studio.transcription.live.loops import without_loops
from studio.transcription.live.received import ArrivalPace, ReceivedAudio
from studio.transcription.live.settings import Limits, LiveSettings
from studio.transcription.live.tasks import Early, EndedUtterance, Following, Task
from studio.transcription.live.totals import Figures, Totals
from studio.transcription.transcript import Segment

Emit = Callable[[str, dict[str, Any]], None]

# Text that a model invents for breathing and music exceeds this only occasionally. Speech that it
# classifies as silence is rare, and between utterances a word is more likely invented than spoken.
MIN_LOG_PROBABILITY = -0.5


class Session:
    """The state of one speaker. Thread-safe; `emit` must not call it back."""

    def __init__(
        self,
        settings: LiveSettings,
        limits: Limits,
        emit: Emit,
        now_s: float,
        on_expired: Callable[[], None] = lambda: None,
        *,
        observer: Observer | None = None,
        advice: Advice | None = None,
    ) -> None:
        self._observer = observer or Observer()
        self._advice = advice or Advice()
        self._on_expired = on_expired
        self.settings = settings
        self.interim_every_s = 0.5
        self._pace = ArrivalPace(limits.waiting_s, now_s)
        self._last_contact_s = now_s
        self._last_sound_s = now_s
        self._limits = limits
        self._emit = emit
        self._lock = Lock()
        self._finished = Figures()
        self._begin()

    def _begin(self) -> None:
        self._begin_detection()
        self._endpoints = Endpoints(self.settings.endpointing_ms)
        self._received = ReceivedAudio()
        self._decoded_to = 0
        self._closed: deque[EndedUtterance] = deque()
        # The start of the voice that the observer knows of, and what was discarded before.
        self._voice_from: int | None = None
        self._discarded_to = 0
        self._early: Early | None = None
        self._utterance = Utterance(0, self.settings.words)
        self._totals = Totals()
        self._busy = False
        self._finishing = False
        self._lag = LagReport()

    def _begin_detection(self) -> None:
        """Use the language of the settings. If they have none, it is detected from here on."""
        self.language = self.settings.language
        self._detection = Detection()

    def configure(self, settings: LiveSettings, detect_again: bool = False) -> None:
        """Change the settings. Raises SessionError during an utterance.

        With `detect_again`, a language that was detected is forgotten.
        """
        with self._lock:
            if self._endpoints.voice_from is not None or self._closed or self._busy:
                raise SessionError(
                    "utterance_running",
                    "Settings can only change between utterances. Wait for the final text, then "
                    "send `configure` again.",
                )
            before, self.settings = self.settings, settings
            after = settings.language, settings.variant
            if detect_again or (before.language, before.variant) != after:
                self._begin_detection()
            self._endpoints.endpointing_ms = settings.endpointing_ms
            self._utterance.with_words = settings.words

    def admit(self, seconds: float) -> None:
        """Raise SessionError if this much more audio cannot be accepted now."""
        with self._lock:
            if self._finishing:
                sentence = "The last words are still being decoded. Wait for `finished`."
                raise SessionError("finishing", sentence)
            check_length(self._received.end_s, seconds, self._limits, self._advice)
            check_backlog(self._waiting_s(), seconds, self._limits)

    def feed(self, speech: Speech, now_s: float) -> None:
        """Add audio."""
        with self._lock:
            self._last_contact_s = self._last_sound_s = now_s
            had_caught_up = self._waiting_s() == 0
            self._received.append(speech)
            if had_caught_up:
                self._pace.caught_up(self._received.end_s, now_s)
            self._close(self._endpoints.feed(speech), now_s)
            self._discard_old_audio()
            self._tell_lag()

    def note_backlog(self, seconds: float, now_s: float) -> None:
        """Note that this much more audio has to wait until there is room for it."""
        with self._lock:
            self._last_contact_s = now_s
            self._pace.note_backlog(self._received.end_s + seconds, now_s)

    @property
    def is_file(self) -> bool:
        """Whether the audio comes faster than anybody speaks, so that nobody waits for its text."""
        return self._pace.is_file

    def keep_alive(self, now_s: float) -> None:
        """Note that the client is still there."""
        with self._lock:
            self._last_contact_s = now_s

    def expires(self, now_s: float) -> bool:
        """Whether the client has sent nothing for too long, not even keepalive.

        This ends an open utterance, and returns False until it has been decoded.
        """
        with self._lock:
            if now_s - self._last_contact_s <= self._limits.idle_s or self._finishing:
                return False
            self._close(self._endpoints.flush(), now_s)
            return not self._closed

    def expire(self) -> None:
        """Notify the client that its session has expired."""
        self._emit("error", idle(self._limits, self._advice))
        self._on_expired()

    def end_utterance(self, now_s: float) -> bool:
        """End the current utterance, as if silence had followed. Returns whether there was one."""
        with self._lock:
            was_speaking = self._endpoints.voice_from is not None
            self._close(self._endpoints.flush(), now_s)
            return was_speaking

    def discard(self) -> None:
        """Forget the current utterance; ended ones are still decoded."""
        with self._lock:
            self._endpoints.discard()
            self._voice_from, self._early = None, None
            self._discarded_to = self._endpoints.position
            self._detection.of_utterance = None
            self._utterance = Utterance(self._utterance.segment, self.settings.words)

    def finish(self, now_s: float) -> None:
        """End the speech: the rest is decoded, then `finished` is sent."""
        with self._lock:
            self._last_contact_s = now_s
            if not self._finishing:
                self._close(self._endpoints.finish(), now_s)
                self._finishing = True

    def due(self) -> tuple[bool, float] | None:
        """Whether the next task is an unfinished utterance, and since when it waits; or None."""
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
        """Take the next task; pass its result to `apply` or `fail`."""
        with self._lock:
            following = self._following()
            if following is None:
                return None
            self._busy = True
            speech = self._received.between(following.span)
            return Task(following.span, speech, following.is_final, following.is_early)

    def language_for(self, task: Task) -> str | None:
        """The language in which to decode a task; None to detect it."""
        return self.language or (None if task.is_thorough else self._detection.of_utterance)

    def _following(self) -> Following | None:
        """The next span to decode: ended, probably ended, or current utterances, in this order."""
        if self._closed:
            return Following(self._closed[0].span, self._closed[0].at_s, is_final=True)
        if (early := self._early_span()) is not None:
            return Following(early, self._last_sound_s, is_early=True)
        start = self._endpoints.voice_from
        if start is None:
            return None
        return Following(Span(start, self._endpoints.position), self._last_sound_s)

    def apply(
        self,
        task: Task,
        segments: Sequence[Segment],
        took_s: float,
        detected: Detected | None = None,
    ) -> None:
        """Process the result of a task, and send the events. `detected` is the language in which it
        was decoded, if the engine had to detect it."""
        heard = without_loops([one for one in segments if not is_silence(one, MIN_LOG_PROBABILITY)])
        start_s, end_s = task.span.start / RATE_HZ, task.span.end / RATE_HZ
        segments = [segment.shifted(start_s, end_s) for segment in heard]
        with self._lock:
            self._totals.decoding_s += took_s
            event = self._result(task, segments, detected)
            if event is not None:
                self._emit("transcription", event)
            self._settle()
            self._tell_lag()

    def fail(self, task: Task, code: str, message: str) -> None:
        """Handle the failure of a task. An ended utterance is given up with an error to the client;
        a current one is retried."""
        with self._lock:
            event = self._result(task, None)
            if event is not None:
                self._emit("transcription", event)
            if task.is_final:
                self._emit("error", {"code": code, "message": message})

    def end_if_done(self) -> bool:
        """After `finish`: send `finished` and reset, once nothing is left to decode."""
        with self._lock:
            if not self._finishing or self._closed or self._busy:
                return False
            summary = self._totals.summary(
                self._utterance.segment, self._received.end_s, self.language
            )
            self._finished = self._figures()
            self._begin()
            self._emit("finished", summary)
            return True

    def figures(self) -> Figures:
        """Totals since the connection began, across `finish` events."""
        with self._lock:
            return self._figures()

    def _figures(self) -> Figures:
        return self._finished.plus(
            self._received.end_s, self._totals.decoding_s, self._utterance.segment
        )

    def times(self) -> dict[str, float]:
        """Seconds received, decoded and pending, for acknowledgements."""
        with self._lock:
            waiting_s = self._waiting_s()
            received_s = self._received.end_s
            return {
                "received_s": round(received_s, 3),
                "decoded_s": round(max(0.0, received_s - waiting_s), 3),
                "waiting_s": round(waiting_s, 3),
            }

    @property
    def lag_s(self) -> float:
        """Seconds of audio received since there has been something to decode."""
        with self._lock:
            return self._lag_s()

    @property
    def is_speaking(self) -> bool:
        """Whether there is something to decode, now or soon."""
        with self._lock:
            return bool(self._closed) or self._endpoints.voice_from is not None

    def _close(self, spans: Iterable[Span], now_s: float) -> None:
        for span in spans:
            self._note_voice(span.start)
            self._observer.ended(span)
            self._closed.append(EndedUtterance(span, now_s, self._received.end))
        self._note_voice(self._endpoints.voice_from)
        self._settle()

    def _note_voice(self, start: int | None) -> None:
        """Tell the observer about a voice that it does not know of."""
        if start not in (None, self._voice_from):
            self._observer.began(start)
        self._voice_from = start

    @property
    def _decodes_early(self) -> bool:
        """Whether to decode an utterance as soon as it has probably ended, during the silence that
        makes its end certain. The result then becomes the final text without delay."""
        return (
            self.language is not None
            and self.settings.endpointing_ms * RATE_HZ > 1000 * AFTER_SAMPLES
        )

    def _early_span(self) -> Span | None:
        """An utterance that has probably ended and has not been decoded as such."""
        likely = self._endpoints.likely if self._decodes_early else None
        return None if self._early and self._early.span == likely else likely

    def _settle(self) -> None:
        """Make early results final if the utterance has ended as expected."""
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
        """Seconds of undecoded audio since the first speech."""
        if self._closed:
            start = self._closed[0].span.start
        elif self._endpoints.voice_from is not None and self.settings.interim_results:
            if self._early and self._early.span == self._endpoints.likely:
                return 0.0
            start = self._endpoints.voice_from
        else:
            return 0.0
        return max(0, self._received.end - max(start, self._decoded_to)) / RATE_HZ

    def _lag_s(self) -> float:
        """Seconds of audio received since there has been something to decode."""
        if self._closed:
            return (self._received.end - self._closed[0].received) / RATE_HZ
        return self._waiting_s()

    def _discard_old_audio(self) -> None:
        """Discard audio that is no longer needed, except a little silence before speech."""
        silence = round(self._limits.silence_s * RATE_HZ)
        needed = min(self._endpoints.position - silence, self._endpoints.needed_from)
        if self._closed:
            needed = min(needed, self._closed[0].span.start)
        self._received.discard_before(needed)

    def _result(
        self,
        task: Task,
        segments: Sequence[Segment] | None,
        detected: Detected | None = None,
    ) -> dict[str, Any] | None:
        """The event for a result; `segments` is None if decoding failed."""
        self._busy = False
        self._decoded_to = task.span.end
        if task.is_final:
            return self._final(task.span, segments, detected)
        if task.span.start < self._discarded_to:
            return None
        if detected is not None and segments:
            self._detection.heard(detected, task.span.seconds)
        if task.is_early:
            self._early = Early(task.span, segments)
        if segments is None or not self.settings.interim_results:
            return None
        return self._utterance.interim(task.span, segments, self._spoken(detected))

    def _spoken(self, detected: Detected | None) -> str | None:
        """The language of a result."""
        if detected is not None:
            return detected.language
        return self.language or self._detection.of_utterance

    def _final(
        self,
        span: Span,
        segments: Sequence[Segment] | None,
        detected: Detected | None = None,
    ) -> dict[str, Any] | None:
        """The event for the first ended utterance; `segments` is None if decoding failed."""
        self._closed.popleft()
        self._discard_old_audio()
        event = self._utterance.final(span, segments or [], self._spoken(detected))
        text = event["transcription"] if event is not None else ""
        self._observer.decoded(None if segments is None else text)
        number = self._utterance.segment + (event is not None)
        self._utterance = Utterance(number, self.settings.words)
        if event is not None and event["transcription"]:
            self._totals.add(event["transcription"], event["language"])
            # The language of noise means nothing.
            if self.language is None and detected is not None:
                self.language = self._detection.ended(detected, span.seconds)
        self._detection.of_utterance = None
        return event

    def _tell_lag(self) -> None:
        """Send `lagging` if the lag has changed noticeably."""
        shown_s = self._lag.update(self._lag_s(), self.interim_every_s)
        if shown_s is not None:
            self._emit("lagging", {"seconds": shown_s})
