"""One thread serves all speakers: fairly, the finished first, and never at the cost of a stall."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from studio.concurrency import ConcurrencyLimit
from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech, SpeechEngine
from studio.transcription.live import engines
from studio.transcription.live.events import SessionError
from studio.transcription.live.received import FILE_AHEAD_S
from studio.transcription.live.scheduler import MAX_INTERVAL_S, Scheduler
from studio.transcription.live.session import Session
from studio.transcription.live.settings import LiveSettings
from studio.transcription.transcript import Segment
from tests.support.hearing import LIMITS, Hearing, chunks, silence
from tests.support.server import WAIT_S, until
from tests.support.speech import Spoken
from tests.support.threads import no_more_threads

IDLE_S = 100_000


class Clock:
    """The scheduler's clock: it stands still until the test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Slow(Hearing):
    """Hears exactly; each decoding waits for the test and takes `cost_s` of the clock."""

    def __init__(self, recording: Spoken, clock: Clock) -> None:
        super().__init__(recording)
        self.cost_s = 0.0
        self.began: Queue[str] = Queue()
        self.go_on = Event()
        self.go_on.set()
        self._clock = clock

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        self.began.put(options.initial_prompt or "")
        assert self.go_on.wait(WAIT_S)
        self._clock.now_s += self.cost_s
        yield from super().transcribe(windows, options)


class Room:
    """A scheduler with named speakers; each one's prompt is its name, which shows the turns."""

    def __init__(
        self, recording: Spoken, limit: ConcurrencyLimit | None = None, **more: Any
    ) -> None:
        self.clock = Clock()
        self.engine = Slow(recording, self.clock)
        self.leased: list[str] = []
        self.released: Queue[str] = Queue()
        self.scheduler = Scheduler(
            self.lease, limit or ConcurrencyLimit(8, 0), clock=self.clock, **more
        )
        self.events: dict[str, Queue[tuple[str, dict[str, Any]]]] = {}
        self.sessions: dict[str, Session] = {}

    @contextmanager
    def lease(self, variant: str) -> Iterator[SpeechEngine]:
        self.leased.append(variant)
        yield self.engine
        self.released.put(variant)

    def enter(self, name: str, **more: Any) -> Session:
        events: Queue[tuple[str, dict[str, Any]]] = Queue()
        session = Session(
            LiveSettings(**{"variant": "mini", "language": "en", "prompt": name, **more}),
            replace(LIMITS, idle_s=IDLE_S),
            lambda event, data: events.put((event, data)),
            self.clock.now_s,
        )
        self.events[name], self.sessions[name] = events, session
        self.scheduler.add(name, session, name)
        return session

    def say(self, name: str, sound: Speech) -> None:
        self.sessions[name].feed(sound, self.clock.now_s)
        self.scheduler.wake()

    def finish(self, name: str) -> None:
        self.sessions[name].finish(self.clock.now_s)
        self.scheduler.wake()

    def until(self, name: str, event: str) -> list[tuple[str, dict[str, Any]]]:
        """What a speaker is sent up to an event."""
        found: list[tuple[str, dict[str, Any]]] = []
        while not found or found[-1][0] != event:
            found.append(self.events[name].get(timeout=WAIT_S))
        return found

    def hold(self, name: str, sound: Speech) -> None:
        """Let the engine be busy with one speaker until `engine.go_on` is set."""
        self.engine.go_on.clear()
        self.say(name, sound)
        assert self.turns(1) == [name]

    def turns(self, count: int) -> list[str]:
        return [self.engine.began.get(timeout=WAIT_S) for _ in range(count)]


@pytest.fixture
def room(recording: Spoken) -> Iterator[Room]:
    room = Room(recording)
    yield room
    room.engine.go_on.set()
    room.scheduler.stop()


@pytest.fixture(scope="module")
def sentence(recording: Spoken) -> Speech:
    """A sentence and the silence that ends it."""
    return np.append(recording.part(0, 1), silence(0.6))


def test_everyone_gets_all_of_their_own_words(room: Room, recording: Spoken) -> None:
    for number in range(4):
        room.enter(f"speaker {number}")
    for chunk in chunks(recording.sound, RATE_HZ):
        for number in range(4):
            room.say(f"speaker {number}", chunk)
    for number in range(4):
        room.finish(f"speaker {number}")
    for number in range(4):
        summary = room.until(f"speaker {number}", "finished")[-1][1]
        assert summary["text"] == " ".join(word for word, _, _ in recording.words)


def test_a_final_comes_before_interims(room: Room, sentence: Speech) -> None:
    for name in ("busy", "interim", "final"):
        room.enter(name)
    room.hold("busy", sentence)
    room.say("interim", sentence[: 2 * RATE_HZ])
    room.say("final", sentence)
    room.engine.go_on.set()
    assert room.turns(2) == ["final", "interim"]


def test_who_sends_much_at_once_does_not_hold_up_the_others(
    room: Room, recording: Spoken, sentence: Speech
) -> None:
    """One sends seven sentences at once before the others send one each."""
    for name in ("busy", "flood", "first", "second"):
        room.enter(name, interim_results=False)
    room.hold("busy", sentence)
    room.say("flood", np.append(recording.sound, silence(1)))
    room.say("first", sentence)
    room.say("second", sentence)
    room.engine.go_on.set()
    turns = room.turns(9)
    assert set(turns[:3]) == {"flood", "first", "second"}
    assert turns[3:] == ["flood"] * 6


def test_interims_come_though_another_always_has_finals(room: Room, recording: Spoken) -> None:
    """An interim that waits for MAX_INTERVAL_S is as urgent as a final."""
    room.enter("flood", interim_results=False)
    room.enter("patient")
    room.engine.cost_s = MAX_INTERVAL_S / 3
    room.engine.go_on.clear()
    room.say("flood", np.append(recording.sound, silence(1)))
    assert room.turns(1) == ["flood"]
    start_s, end_s = recording.words[0][1], recording.words[4][2]
    voice = recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    room.say("patient", np.tile(voice, 3))
    room.engine.go_on.set()
    turns = room.turns(7)
    assert "patient" in turns[:5]


def test_interims_become_rarer_when_the_engine_is_slow(room: Room, sentence: Speech) -> None:
    """The interval follows what decoding takes, and how many speak; it is bounded."""
    session = room.enter("speaker")
    other = room.enter("other")
    seen = []
    for cost_s in (0.0, 0.5, 1.0, 100.0):
        room.engine.cost_s = cost_s
        for _ in range(12):
            room.say("speaker", sentence)
            room.finish("speaker")
            room.until("speaker", "finished")
        room.say("speaker", sentence[: 2 * RATE_HZ])
        room.say("other", sentence)
        room.finish("other")
        room.until("other", "finished")
        seen.append(session.interim_every_s)
        room.finish("speaker")
        room.until("speaker", "finished")
    assert seen == sorted(seen)
    assert seen[0] < 0.5 < seen[2] < seen[3] == MAX_INTERVAL_S == other.interim_every_s


def test_lag_is_told_and_taken_back(room: Room, recording: Spoken) -> None:
    room.enter("speaker")
    room.engine.go_on.clear()
    for start in range(0, 12 * RATE_HZ, RATE_HZ // 2):
        room.say("speaker", recording.sound[start : start + RATE_HZ // 2])
    room.engine.go_on.set()
    room.finish("speaker")
    told = [data for event, data in room.until("speaker", "finished") if event == "lagging"]
    assert told[0]["seconds"] > 3
    assert told[-1] == {"seconds": 0.0}


def in_thread(work: Callable[[], None]) -> Event:
    done = Event()

    def run() -> None:
        work()
        done.set()

    Thread(target=run, daemon=True).start()
    return done


def test_other_work_continues_while_nobody_waits(recording: Spoken, sentence: Speech) -> None:
    room = Room(recording, max_give_way_s=10 * WAIT_S)
    assert in_thread(room.scheduler.give_way).wait(WAIT_S)
    room.enter("speaker")
    assert in_thread(room.scheduler.give_way).wait(WAIT_S)
    room.say("speaker", sentence)
    room.finish("speaker")
    room.until("speaker", "finished")
    assert in_thread(room.scheduler.give_way).wait(WAIT_S)
    room.scheduler.stop()


def test_other_work_waits_while_live_sound_is_decoded(room: Room, sentence: Speech) -> None:
    room.enter("speaker")
    room.hold("speaker", sentence)
    done = in_thread(room.scheduler.give_way)
    # The thread of the scheduler decodes, so it does not wait.
    waiting = room.scheduler._changed._waiters  # type: ignore[attr-defined]
    until(lambda: waiting or done.is_set())
    assert not done.is_set()
    room.engine.go_on.set()
    assert done.wait(WAIT_S)


def test_other_work_waits_no_longer_than_the_bound(recording: Spoken, sentence: Speech) -> None:
    room = Room(recording, max_give_way_s=0.1)
    room.enter("speaker")
    room.hold("speaker", sentence)
    room.scheduler.give_way()
    assert room.engine.began.empty()
    room.engine.go_on.set()
    room.scheduler.stop()


def test_other_work_does_not_wait_for_files(recording: Spoken, sentence: Speech) -> None:
    """Another session is open, whose speaker is silent."""
    room = Room(recording, max_give_way_s=10 * WAIT_S)
    room.enter("silent")
    file = room.enter("file")
    room.hold("file", sentence)
    room.say("file", sentence)
    assert room.scheduler.lag_s() > 0
    file.note_backlog(10 * FILE_AHEAD_S, room.clock())
    assert in_thread(room.scheduler.give_way).wait(WAIT_S)
    assert room.scheduler.lag_s() == 0
    room.engine.go_on.set()
    room.scheduler.stop()


def test_other_work_goes_on_when_the_last_speaker_leaves(room: Room, sentence: Speech) -> None:
    room.enter("speaker")
    room.hold("speaker", sentence)
    done = in_thread(room.scheduler.give_way)
    room.scheduler.remove("speaker")
    assert done.wait(WAIT_S)


def test_the_engine_is_let_go_when_nobody_uses_it(room: Room, sentence: Speech) -> None:
    room.enter("speaker")
    room.say("speaker", sentence)
    room.finish("speaker")
    room.until("speaker", "finished")
    room.scheduler.remove("speaker")
    room.clock.now_s += 2
    room.scheduler.wake()
    assert room.released.get(timeout=WAIT_S) == "mini"
    room.enter("next")
    room.say("next", sentence)
    room.finish("next")
    assert room.until("next", "finished")[-1][1]["segments"] == 1
    assert room.leased == ["mini", "mini"]


def test_an_engine_is_loaded_once_there_is_a_thread_for_it(
    room: Room, sentence: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Event()

    class Scarce(Thread):
        def start(self) -> None:
            failed.set()
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as scarce:
        scarce.setattr(engines, "Thread", Scarce)
        room.enter("speaker")
        room.say("speaker", sentence)
        assert failed.wait(WAIT_S)
    room.finish("speaker")
    assert room.until("speaker", "finished")[-1][1]["segments"] == 1


def test_a_session_is_refused_while_there_is_no_thread_for_it(
    recording: Spoken, sentence: Speech
) -> None:
    """Its slot is free again."""
    room = Room(recording, ConcurrencyLimit(1, 0))
    with no_more_threads(), pytest.raises(SessionError, match="cannot start another thread"):
        room.enter("speaker")
    room.enter("speaker")
    room.say("speaker", sentence)
    room.finish("speaker")
    assert room.until("speaker", "finished")[-1][1]["segments"] == 1
    room.scheduler.stop()


def test_more_than_the_bound_are_refused(recording: Spoken) -> None:
    room = Room(recording, ConcurrencyLimit(2, 0))
    one, _ = room.enter("one"), room.enter("two")
    with pytest.raises(SessionError, match="2 live sessions are open"):
        room.scheduler.add("three", one, "three")
    room.scheduler.remove("one")
    room.scheduler.remove("one")
    room.scheduler.add("three", one, "three")
    with pytest.raises(SessionError):
        room.scheduler.add("four", one, "four")
    assert room.scheduler.count() == 2
    room.scheduler.stop()


def test_a_client_has_so_many_sessions(recording: Spoken) -> None:
    room = Room(recording, ConcurrencyLimit(8, 1))
    one = room.enter("one")
    with pytest.raises(SessionError, match="You have 1 open live sessions"):
        room.scheduler.add("again", one, "one")
    room.scheduler.add("other", one, "other")
    room.scheduler.remove("one")
    room.scheduler.add("again", one, "one")
    room.scheduler.stop()


def test_a_stopping_server_takes_no_session(room: Room) -> None:
    one = room.enter("one")
    room.scheduler.stop()
    with pytest.raises(SessionError, match="shutting down") as error:
        room.scheduler.add("two", one, "two")
    assert error.value.code == "server_stopping"


def test_an_idle_session_gets_its_last_words_before_it_ends(
    room: Room, recording: Spoken, sentence: Speech
) -> None:
    room.enter("speaker", interim_results=False)
    room.say("speaker", sentence[: round(2.6 * RATE_HZ)])
    room.clock.now_s += IDLE_S + 1
    room.scheduler.wake()
    final = room.until("speaker", "transcription")[-1][1]
    assert final["transcription"].startswith(" ".join(recording.text.split()[:2]))
    assert final["is_final"]
    room.clock.now_s += 2
    room.scheduler.wake()
    ((event, error),) = room.until("speaker", "error")
    assert (event, error["code"]) == ("error", "idle")
    assert room.scheduler.count() == 0


def test_the_settings_reach_the_engine(room: Room, sentence: Speech) -> None:
    room.enter("speaker", hotwords="yankee zulu")
    room.say("speaker", sentence)
    room.finish("speaker")
    room.until("speaker", "finished")
    asked = room.engine.asked[-1]
    assert (asked.hotwords, asked.initial_prompt, asked.language) == (
        "yankee zulu", "speaker", "en",
    )  # fmt: skip
