"""Decodes for all live sessions on one thread, in fair turns.

Ended utterances come first, then current ones; among equals, the session that was served longest
ago. The interval between interim texts depends on the measured speed of the engine and the number
of speakers: when the machine falls behind, they become less frequent, and nothing is dropped.
"""

import logging
import time
from collections.abc import Callable
from threading import Condition, Thread

from studio.concurrency import ConcurrencyLimit
from studio.errors import StudioError
from studio.transcription.engine import DecodeOptions, SpeechEngine
from studio.transcription.languages import check_language
from studio.transcription.live.detection import Detected
from studio.transcription.live.engines import Engines, Lease
from studio.transcription.live.events import SessionError
from studio.transcription.live.session import Session
from studio.transcription.live.tasks import Task
from studio.transcription.transcript import Segment

log = logging.getLogger(__name__)

MIN_INTERVAL_S = 0.4
# An interim text that is overdue by this much is as urgent as a final text.
MAX_INTERVAL_S = 5.0
# The interval between interim texts, as a multiple of the decoding time.
INTERVAL_FACTOR = 1.2
MAX_TOKENS = 200
FINAL_BEAM = 5
FINAL_TEMPERATURES = (0.0, 0.4, 0.8)
SWEEP_EVERY_S = 1.0
MAX_GIVE_WAY_S = 10.0


class Scheduler:
    """The live sessions by ID, each of which takes a slot, and the thread that serves them."""

    def __init__(
        self,
        lease: Lease,
        limit: ConcurrencyLimit,
        max_give_way_s: float = MAX_GIVE_WAY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = Engines(lease, self.wake)
        self._limit = limit
        self._max_give_way_s = max_give_way_s
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        # The client of each session.
        self._clients: dict[str, str] = {}
        # The last turn of each session.
        self._served: dict[str, int] = {}
        self._turn = 0
        self._changed = Condition()
        self._thread: Thread | None = None
        self._stopping = False
        self._woken = False
        # The sessions that had something to decode when the current task was chosen.
        self._due: set[str] = set()
        self._mean_s = 0.2

    def add(self, session_id: str, session: Session, client: str) -> None:
        """Serve a session. Raises SessionError if too many are open, in all or of this client."""
        self._take_slot(client)
        try:
            with self._changed:
                self._start()
                self._sessions[session_id] = session
                self._clients[session_id] = client
        except SessionError:
            self._limit.release(client)
            raise
        self.wake()

    def _start(self) -> None:
        """Start the thread for the first session. Raises SessionError if that is impossible."""
        if self._stopping:
            raise SessionError("server_stopping", "The server is shutting down. Try again later.")
        if self._thread is not None:
            return
        thread = Thread(target=self._loop, name="live", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("cannot start live transcription yet: %s", error)
            raise SessionError(
                "too_many_sessions", "The server cannot start another thread now. Try again later."
            ) from None
        self._thread = thread

    def remove(self, session_id: str) -> None:
        with self._changed:
            self._sessions.pop(session_id, None)
            client = self._clients.pop(session_id, None)
            self._changed.notify_all()
        if client is not None:
            self._limit.release(client)

    def count(self) -> int:
        with self._changed:
            return len(self._sessions)

    def lag_s(self) -> float:
        """The lag of the slowest session behind its speaker, in seconds; files have none."""
        with self._changed:
            sessions = list(self._sessions.values())
        return max((session.lag_s for session in sessions if not session.is_file), default=0.0)

    def wake(self) -> None:
        """Check for work now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def give_way(self) -> None:
        """Called by other work between its steps: blocks while speakers wait, but at most for
        `max_give_way_s`, so that the other work makes progress."""
        with self._changed:
            self._changed.wait_for(self._has_time, self._max_give_way_s)

    def _has_time(self) -> bool:
        waiting = (self._sessions[name] for name in self._due if name in self._sessions)
        return self._stopping or all(session.is_file for session in waiting)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(10)
        self._engines.keep_only(set())

    def _take_slot(self, client: str) -> None:
        reached = self._limit.acquire(client)
        if reached is None:
            return
        if reached.of_client:
            sentence = (
                f"You have {reached.limit} open live sessions, which is the maximum. Close one and "
                "try again."
            )
        else:
            sentence = (
                f"{reached.limit} live sessions are open, which is the maximum. Try again later."
            )
        raise SessionError("too_many_sessions", sentence)

    def _loop(self) -> None:
        swept_s = self._clock()
        while True:
            with self._changed:
                if self._stopping:
                    return
                self._woken = False
                sessions = dict(self._sessions)
            try:
                is_idle = self._serve(sessions)
                if self._clock() - swept_s >= SWEEP_EVERY_S:
                    swept_s = self._clock()
                    self._sweep(sessions)
            except Exception:
                log.exception("error in live transcription; continuing")
                is_idle = True
            if is_idle:
                self._rest()

    def _serve(self, sessions: dict[str, Session]) -> bool:
        """Decode the most urgent task. Returns whether there was none."""
        chosen = self._choose(sessions)
        if chosen is not None and (task := sessions[chosen].task()) is not None:
            self._turn += 1
            self._served[chosen] = self._turn
            self._decode(sessions[chosen], task)
        for session in sessions.values():
            session.end_if_done()
        return chosen is None

    def _rest(self) -> None:
        with self._changed:
            if self._woken or self._stopping:
                return
            self._note_due(set())
            self._changed.wait_for(lambda: self._woken or self._stopping, SWEEP_EVERY_S)

    def _choose(self, sessions: dict[str, Session]) -> str | None:
        """The session with the most urgent task: final texts first, then the session served longest
        ago, so that one that sends a lot at once does not delay the others."""
        speaking = sum(session.is_speaking for session in sessions.values())
        interval_s = INTERVAL_FACTOR * self._mean_s * max(1, speaking)
        now_s = self._clock()
        due: list[tuple[bool, int, float, str]] = []
        for name, session in sessions.items():
            session.interim_every_s = min(MAX_INTERVAL_S, max(MIN_INTERVAL_S, interval_s))
            urgency = session.due()
            if self._engines.is_ready(session.settings.variant) and urgency is not None:
                is_unfinished, since_s = urgency
                can_wait = is_unfinished and now_s - since_s < MAX_INTERVAL_S
                due.append((can_wait, self._served.get(name, 0), since_s, name))
        with self._changed:
            self._note_due({name for *_, name in due})
        return min(due)[-1] if due else None

    def _note_due(self, names: set[str]) -> None:
        """Note which sessions have something to decode; `_changed` is held."""
        self._due = names
        self._changed.notify_all()

    def _decode(self, session: Session, task: Task) -> None:
        began_s = self._clock()
        try:
            engine = self._engines.get(session.settings.variant)
            segments, detected = self._segments(engine, session, task)
        except StudioError as error:
            session.fail(task, error.code, error.sentence)
        except Exception:
            log.exception("live decoding failed")
            session.fail(task, "internal_error", "The server could not decode this utterance.")
        else:
            took_s = self._clock() - began_s
            self._mean_s += 0.2 * (took_s - self._mean_s)
            session.apply(task, segments, took_s, detected)

    def _segments(
        self, engine: SpeechEngine, session: Session, task: Task
    ) -> tuple[list[Segment], Detected | None]:
        """What was said, and the language if it was detected."""
        settings, language, detected = session.settings, session.language_for(task), None
        check_language(language, engine.languages)
        if language is None:
            detected = Detected(*engine.detect_language(task.speech))
            language = detected.language
        options = DecodeOptions(
            language,
            initial_prompt=settings.prompt or None,
            hotwords=settings.hotwords or None,
            beam_size=FINAL_BEAM if task.is_thorough else 1,
            temperatures=FINAL_TEMPERATURES if task.is_thorough else (0.0,),
            max_tokens=MAX_TOKENS,
        )
        return next(iter(engine.transcribe([task.speech], options)), []), detected

    def _sweep(self, sessions: dict[str, Session]) -> None:
        """Release unused engines, and close idle sessions."""
        self._engines.keep_only({session.settings.variant for session in sessions.values()})
        self._served = {name: self._served.get(name, 0) for name in sessions}
        now_s = self._clock()
        for session_id, session in sessions.items():
            if session.expires(now_s):
                self.remove(session_id)
                session.expire()
