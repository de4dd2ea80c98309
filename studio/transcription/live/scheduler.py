"""Owns the speech engine for all live sessions: one thread decodes, in fair turns.

Utterances that have ended come first, then those that go on; among equals, who has waited longest.
Each session's interim texts come as often as the measured speed of the engine allows for all who
speak at the moment: when the machine falls behind, they become rarer, and nothing is dropped.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Condition, Thread

from studio.errors import StudioError
from studio.transcription.engine import DecodeOptions, SpeechEngine
from studio.transcription.live.session import Session, Task

log = logging.getLogger(__name__)

LEAST_INTERVAL_S = 0.4
MOST_INTERVAL_S = 5.0
# Of the time between two interim texts, so much more than decoding takes is left free.
SPARE = 1.2
MOST_TOKENS = 200
FINAL_BEAM = 5
FINAL_TEMPERATURES = (0.0, 0.4, 0.8)
SWEEP_EVERY_S = 1.0
LONGEST_WAY_S = 10.0

Lease = Callable[[str], AbstractContextManager[SpeechEngine]]
"""Lends the engine of a variant."""


class Scheduler:
    """The live sessions by id, and the thread that serves them."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._sessions: dict[str, Session] = {}
        self._changed = Condition()
        self._thread: Thread | None = None
        self._stopping = False
        self._woken = False
        self._at_rest = True
        self._mean_s = 0.2
        self._held: dict[str, tuple[AbstractContextManager[SpeechEngine], SpeechEngine]] = {}

    def add(self, session_id: str, session: Session, most: int) -> bool:
        """Serve a session; False if there are `most` already."""
        with self._changed:
            if len(self._sessions) >= most:
                return False
            self._sessions[session_id] = session
            if self._thread is None:
                self._thread = Thread(target=self._loop, name="live", daemon=True)
                self._thread.start()
            return True

    def get(self, session_id: str) -> Session | None:
        with self._changed:
            return self._sessions.get(session_id)

    def remove(self, session_id: str) -> None:
        with self._changed:
            self._sessions.pop(session_id, None)

    def count(self) -> int:
        with self._changed:
            return len(self._sessions)

    def wake(self) -> None:
        """There may be something to decode."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def give_way(self) -> None:
        """Called by other work between its steps: returns once no live sound waits, or after
        LONGEST_WAY_S, so that the other work still goes on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._at_rest or not self._sessions, LONGEST_WAY_S
            )

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(10)

    def _loop(self) -> None:
        swept_s = time.monotonic()
        while True:
            with self._changed:
                if self._stopping:
                    return
                self._at_rest = False
                sessions = dict(self._sessions)
            chosen = self._choose(list(sessions.values()))
            if chosen is not None and (task := chosen.task()) is not None:
                self._decode(chosen, task)
            for session in sessions.values():
                session.end_if_done()
            if time.monotonic() - swept_s > SWEEP_EVERY_S:
                swept_s = time.monotonic()
                self._sweep(sessions)
            if chosen is None:
                self._rest()

    def _rest(self) -> None:
        with self._changed:
            if self._woken or self._stopping:
                self._woken = False
                return
            self._at_rest = True
            self._changed.notify_all()
            self._changed.wait(SWEEP_EVERY_S)
            self._woken = False

    def _choose(self, sessions: list[Session]) -> Session | None:
        """The session whose task is the most urgent."""
        speaking = sum(session.is_speaking for session in sessions)
        interval_s = SPARE * self._mean_s * max(1, speaking)
        due: list[tuple[tuple[bool, float], int]] = []
        for number, session in enumerate(sessions):
            session.interim_every_s = min(MOST_INTERVAL_S, max(LEAST_INTERVAL_S, interval_s))
            if (urgency := session.due()) is not None:
                due.append((urgency, number))
        return sessions[min(due)[1]] if due else None

    def _decode(self, session: Session, task: Task) -> None:
        began_s = time.monotonic()
        settings = session.settings
        try:
            engine = self._engine(settings.variant)
            if session.language is None:
                session.language = engine.detect_language(task.speech)[0]
            options = DecodeOptions(
                session.language,
                initial_prompt=settings.prompt or None,
                hotwords=settings.hotwords or None,
                beam_size=FINAL_BEAM if task.is_final else 1,
                temperatures=FINAL_TEMPERATURES if task.is_final else (0.0,),
                most_tokens=MOST_TOKENS,
            )
            segments = next(iter(engine.transcribe([task.speech], options)), [])
        except StudioError as error:
            session.fail(task, error.code, error.sentence)
        except Exception:
            log.exception("live decoding failed")
            session.fail(task, "internal_error", "The server could not decode this utterance.")
        else:
            took_s = time.monotonic() - began_s
            self._mean_s += 0.2 * (took_s - self._mean_s)
            session.apply(task, segments, took_s)

    def _engine(self, variant: str) -> SpeechEngine:
        """The engine of a variant; kept until no session uses it."""
        if variant not in self._held:
            lease = self._lease(variant)
            self._held[variant] = lease, lease.__enter__()
        return self._held[variant][1]

    def _sweep(self, sessions: dict[str, Session]) -> None:
        used = {session.settings.variant for session in sessions.values()}
        for variant in set(self._held) - used:
            lease, _ = self._held.pop(variant)
            lease.__exit__(None, None, None)
        now_s = time.monotonic()
        for session_id, session in sessions.items():
            if session.has_expired(now_s):
                self.remove(session_id)
                session.expire()
