"""Bounds of a live session, what is told at each, and what happens when decoding fails."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from threading import Event
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from studio.concurrency import ConcurrencyLimit
from studio.errors import WeightsMissing
from studio.transcription.engine import RATE_HZ, Speech, SpeechEngine
from studio.transcription.live.events import SessionError
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.session import Session
from studio.transcription.live.settings import LiveSettings
from studio.transcription.transcript import Segment
from tests.support.hearing import LIMITS, Hearing, Speaker, chunks, silence
from tests.support.server import WAIT_S
from tests.support.speech import Spoken


@pytest.fixture
def engine(recording: Spoken) -> Hearing:
    return Hearing(recording)


def first(recording: Spoken) -> str:
    return recording.sentences[0].rstrip(".")


def test_sound_beyond_the_waiting_bound_is_refused_and_taken_later(
    recording: Spoken, engine: Hearing
) -> None:
    speaker = Speaker(replace(LIMITS, waiting_s=5))
    refused = 0
    for chunk in chunks(recording.sound, 4000):
        try:
            speaker.say(chunk)
        except SessionError as error:
            assert error.code == "too_far_behind"
            assert "rejected" in error.message
            assert speaker.session.times()["waiting_s"] <= 5
            refused += 1
            speaker.serve(engine)
            speaker.say(chunk)
    assert refused >= 2
    assert speaker.finish(engine)["text"] == " ".join(word for word, _, _ in recording.words)


def test_a_chunk_longer_than_the_bound_is_taken_when_nothing_waits(
    recording: Spoken, engine: Hearing
) -> None:
    speaker = Speaker(replace(LIMITS, waiting_s=5))
    speaker.say(recording.sound, len(recording.sound))
    assert speaker.finish(engine)["segments"] == len(recording.sentences)


def test_memory_is_bounded_while_nothing_is_decoded(recording: Spoken) -> None:
    """Speech waits for an engine that does not come, then silence for ever."""
    speaker = Speaker(replace(LIMITS, waiting_s=20))
    speaker.say(recording.part(0, 1))
    with pytest.raises(SessionError, match="waiting to be decoded") as refused:
        for _ in range(10):
            speaker.say(silence(5))
    assert refused.value.code == "too_far_behind"
    assert len(speaker.session._received) <= 26 * RATE_HZ


def test_a_session_has_a_length(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker(replace(LIMITS, length_s=10))
    with pytest.raises(SessionError, match="10 s") as refused:
        speaker.say(recording.sound)
    assert refused.value.code == "session_too_long"
    received_s = speaker.session.times()["received_s"]
    assert 9.7 < received_s <= 10
    assert speaker.finish(engine)["audio_s"] == received_s
    speaker.say(recording.part(0, 1))
    assert speaker.finish(engine)["text"] == first(recording)


def test_who_sends_nothing_is_idle(engine: Hearing) -> None:
    speaker = Speaker(replace(LIMITS, idle_s=30))
    speaker.say(silence(10))
    assert not speaker.session.expires(speaker.now_s + 30)
    assert speaker.session.expires(speaker.now_s + 30.1)
    speaker.session.keep_alive(speaker.now_s + 30)
    assert not speaker.session.expires(speaker.now_s + 60)
    speaker.session.expire()
    assert speaker.sent("error")[0]["code"] == "idle"
    assert "for 30 s. Send audio" in speaker.sent("error")[0]["message"]
    assert speaker.was_closed
    assert engine.asked == []


def test_who_waits_for_the_last_words_is_not_idle(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker(replace(LIMITS, idle_s=30))
    speaker.say(recording.part(0, 1))
    speaker.session.finish(speaker.now_s)
    assert not speaker.session.expires(speaker.now_s + 1000)
    speaker.serve(engine)
    assert speaker.session.expires(speaker.now_s + 1000)


def test_lag_is_told_as_it_grows_and_taken_back(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    for chunk in chunks(recording.sound[: 12 * RATE_HZ], 4000):
        speaker.say(chunk)
    told = [data["seconds"] for data in speaker.sent("lagging")]
    assert 3 < told[0] < 5
    assert len(told) > 2
    assert all(2 <= after - before < 3 for before, after in itertools.pairwise(told))
    assert speaker.session.lag_s - told[-1] < 2
    speaker.serve(engine)
    assert speaker.sent("lagging")[-1] == {"seconds": 0.0}


@pytest.mark.parametrize("interim_results", [True, False])
@pytest.mark.parametrize("endpointing_ms", [100, 500, 5000])
def test_who_is_served_in_time_does_not_lag(
    recording: Spoken, engine: Hearing, interim_results: bool, endpointing_ms: int
) -> None:
    """Neither a long utterance nor a long pause at its end is lag."""
    speaker = Speaker(interim_results=interim_results, endpointing_ms=endpointing_ms)
    for chunk in chunks(np.append(recording.sound, silence(6)), 4000):
        speaker.say(chunk)
        speaker.serve(engine)
    speaker.finish(engine)
    assert speaker.sent("lagging") == []


def test_acknowledgements_tell_what_waits(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    speaker.say(np.append(silence(1), recording.part(0, 1)))
    times = speaker.session.times()
    assert times["received_s"] == pytest.approx(1 + len(recording.part(0, 1)) / RATE_HZ, abs=0.001)
    assert 2 < times["waiting_s"] < times["received_s"]
    assert times["decoded_s"] == pytest.approx(times["received_s"] - times["waiting_s"], abs=0.002)
    speaker.serve(engine)
    assert speaker.session.times()["waiting_s"] < 0.5


def test_failed_decoding_costs_one_utterance(recording: Spoken, engine: Hearing) -> None:
    """The client is told once; what was shown is taken back; the next utterance is not touched."""
    speaker = Speaker()
    speaker.say(recording.part(0, 1)[: 2 * RATE_HZ])
    speaker.serve(engine)
    assert speaker.interims
    speaker.say(recording.part(0, 1)[2 * RATE_HZ :])
    interim = speaker.session.task()
    assert interim is not None
    assert not interim.is_final
    speaker.session.fail(interim, "internal_error", "not told: it is tried again")
    assert speaker.sent("error") == []
    speaker.say(silence(1))
    final = speaker.session.task()
    assert final is not None
    assert final.is_final
    speaker.session.fail(final, "internal_error", "It cannot be decoded.")
    assert speaker.sent("error") == [{"code": "internal_error", "message": "It cannot be decoded."}]
    assert [one["transcription"] for one in speaker.finals] == [""]
    speaker.say(recording.part(1, 2))
    speaker.serve(engine)
    wanted = recording.sentences[1].rstrip(".")
    assert all(
        wanted.startswith(one["transcription"])
        for one in speaker.interims[1:]
        if one["segment"] == 1
    )
    assert speaker.finish(engine)["text"] == wanted


class StagedSpeech:
    """A scheduler whose engines load, fail and wait as the test says."""

    def __init__(self, recording: Spoken) -> None:
        self.engine: Any = Hearing(recording)
        self.loads: dict[str, list[Exception | Event]] = {}
        self.scheduler = Scheduler(self.lease, ConcurrencyLimit(LIMITS.sessions, 0))

    @contextmanager
    def lease(self, variant: str) -> Iterator[SpeechEngine]:
        match self.loads[variant].pop(0) if self.loads.get(variant) else None:
            case Event() as event:
                assert event.wait(WAIT_S)
            case Exception() as error:
                raise error
        yield self.engine

    def speak(self, name: str, sound: Any, variant: str = "mini") -> Queue[tuple[str, Any]]:
        """Someone says something and finishes; what they are sent."""
        events: Queue[tuple[str, Any]] = Queue()
        settings = LiveSettings(variant=variant, language="en", interim_results=False)
        session = Session(settings, LIMITS, lambda *event: events.put(event), 0.0)
        session.feed(sound, 1e9)
        session.finish(1e9)
        self.scheduler.add(name, session, name)
        return events


@pytest.fixture
def staged(recording: Spoken) -> Iterator[StagedSpeech]:
    staged = StagedSpeech(recording)
    yield staged
    staged.scheduler.stop()


def test_a_model_that_loads_holds_up_nobody_else(staged: StagedSpeech, recording: Spoken) -> None:
    loaded = Event()
    staged.loads["large-v3"] = [loaded]
    waiting = staged.speak("patient", recording.part(0, 1), "large-v3")
    served = staged.speak("other", recording.part(0, 1))
    assert served.get(timeout=WAIT_S)[1]["transcription"] == first(recording)
    assert waiting.empty()
    loaded.set()
    assert waiting.get(timeout=WAIT_S)[1]["transcription"] == first(recording)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WeightsMissing("They are not there.", missing=["base"]), "weights_missing"),
        (MemoryError("too large"), "internal_error"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_and_tried_again(
    staged: StagedSpeech, recording: Spoken, error: Exception, code: str
) -> None:
    staged.loads["base"] = [error]
    events = staged.speak("one", recording.part(0, 1), "base")
    assert events.get(timeout=WAIT_S)[1]["code"] == code
    assert events.get(timeout=WAIT_S)[0] == "finished"
    again = staged.speak("other", recording.part(0, 1), "base")
    assert again.get(timeout=WAIT_S)[1]["transcription"] == first(recording)


def test_a_defect_of_an_engine_costs_one_utterance(staged: StagedSpeech, recording: Spoken) -> None:
    class Broken(Hearing):
        def _segments(self, window: Speech) -> list[Segment]:
            if len(self.asked) == 1:
                raise RuntimeError("a defect")
            return super()._segments(window)

    staged.engine = Broken(recording)
    events = staged.speak("one", recording.part(0, 2))
    assert events.get(timeout=WAIT_S)[1]["code"] == "internal_error"
    assert events.get(timeout=WAIT_S)[1]["transcription"] == recording.sentences[1].rstrip(".")
    assert events.get(timeout=WAIT_S)[0] == "finished"


def test_a_guess_from_the_first_second_is_not_kept(recording: Spoken, engine: Hearing) -> None:
    engine.detected = [("cy", 0.9), ("de", 0.3)]
    scheduler = Scheduler(
        lambda _: contextmanager(lambda: iter([engine]))(), ConcurrencyLimit(1, 0)
    )
    speaker = Speaker()
    speaker.say(recording.part(0, 1)[: 2 * RATE_HZ])
    events: Queue[dict[str, Any]] = Queue()
    speaker.session._emit = lambda _, data: events.put(data)
    scheduler.add("one", speaker.session, "one")
    assert events.get(timeout=WAIT_S)["is_final"] is False
    speaker.session.feed(silence(1), 1e9)
    scheduler.wake()
    while not (event := events.get(timeout=WAIT_S))["is_final"]:
        pass
    assert event["language"] == "de"
    scheduler.stop()


def test_noise_does_not_decide_the_language(staged: StagedSpeech, recording: Spoken) -> None:
    """The engine hears no word in samples that are not those of the recording."""
    staged.engine.detected = [("cy", 1.0), ("de", 1.0)]
    events: Queue[tuple[str, Any]] = Queue()
    settings = LiveSettings(variant="mini", interim_results=False)
    session = Session(settings, LIMITS, lambda *event: events.put(event), 0.0)
    noise = 0.9 * recording.part(0, 1)
    session.feed(np.concatenate([noise, silence(1), recording.part(1, 2)]), 1e9)
    session.finish(1e9)
    staged.scheduler.add("one", session, "one")
    name, final = events.get(timeout=WAIT_S)
    assert (name, final["language"]) == ("transcription", "de")
    name, summary = events.get(timeout=WAIT_S)
    assert (name, summary["language"]) == ("finished", "de")
    assert staged.engine.detected == []


def test_one_uncertain_word_does_not_decide_the_language(
    staged: StagedSpeech, recording: Spoken
) -> None:
    """It is said in its language; the next utterance is long and sure enough to decide."""
    staged.engine.detected = [("cy", 0.5), ("de", 0.9)]
    events: Queue[tuple[str, Any]] = Queue()
    settings = LiveSettings(variant="mini", interim_results=False, endpointing_ms=1500)
    session = Session(settings, LIMITS, lambda *event: events.put(event), 0.0)
    _, start_s, end_s = recording.words[4]
    word = recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    sentences = [recording.part(0, 2), silence(2), recording.part(2, 3)]
    session.feed(np.concatenate([silence(1), word, silence(2), *sentences]), 1e9)
    session.finish(1e9)
    staged.scheduler.add("one", session, "one")
    finals = [events.get(timeout=WAIT_S)[1] for _ in range(3)]
    assert [final["language"] for final in finals] == ["cy", "de", "de"]
    assert events.get(timeout=WAIT_S)[1]["language"] == "de"
    assert [options.language for options in staged.engine.asked] == ["cy", "de", "de"]
    assert staged.engine.detected == []


def test_the_language_of_a_short_session_is_told(staged: StagedSpeech, recording: Spoken) -> None:
    staged.engine.detected = [("cy", 0.5)]
    events: Queue[tuple[str, Any]] = Queue()
    settings = LiveSettings(variant="mini", interim_results=False)
    session = Session(settings, LIMITS, lambda *event: events.put(event), 0.0)
    _, start_s, end_s = recording.words[4]
    session.feed(recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)], 1e9)
    session.finish(1e9)
    staged.scheduler.add("one", session, "one")
    told = [events.get(timeout=WAIT_S) for _ in range(2)]
    assert [(name, data["language"]) for name, data in told] == [
        ("transcription", "cy"),
        ("finished", "cy"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"language": "klingon"},
        {"language": 5},
        {"prompt": "x" * 1001},
        {"hotwords": "x" * 501},
        {"endpointing_ms": 99},
        {"endpointing_ms": 5001},
        {"endpointing_ms": "500"},
        {"words": "yes"},
        {"variant": ""},
        {"no_such_setting": 1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LiveSettings(**{"variant": "mini", **wrong})
