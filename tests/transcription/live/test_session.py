"""A live session, with a clock that the test holds: nothing said is lost, doubled or made up."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.endpoints import Span
from studio.transcription.live.events import SessionError, Utterance
from studio.transcription.live.settings import LiveSettings
from studio.transcription.transcript import Segment, Word
from tests.support.hearing import LIMITS, Hearing, Speaker, chunks, hiss, silence
from tests.support.speech import Spoken, instrumental

FEW = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))


@pytest.fixture
def engine(recording: Spoken) -> Hearing:
    return Hearing(recording)


def said(recording: Spoken, first: int = 0, last: int | None = None) -> str:
    return " ".join(word for word, _, _ in recording.words[first:last])


def sentence(recording: Spoken, number: int) -> str:
    return recording.sentences[number].rstrip(".")


def test_the_finals_in_order_are_what_was_said(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    for chunk in chunks(recording.sound, 4000):
        speaker.say(chunk)
        speaker.serve(engine)
    summary = speaker.finish(engine)
    assert speaker.text == summary["text"] == said(recording)
    assert [final["segment"] for final in speaker.finals] == list(range(len(speaker.finals)))
    assert summary["segments"] == len(speaker.finals) == len(recording.sentences)
    assert summary["audio_s"] == round(len(recording.sound) / RATE_HZ, 3)
    for one, other in pairwise(speaker.finals):
        assert one["end"] <= other["start"]
    found = [word for final in speaker.finals for word in final["words"]]
    for (text, start_s, end_s), word in zip(recording.words, found, strict=True):
        assert word["text"] == text
        assert word["start"] == pytest.approx(start_s, abs=0.05)
        assert word["end"] == pytest.approx(end_s, abs=0.05)


def test_interim_texts_lead_to_the_final_one(recording: Spoken, engine: Hearing) -> None:
    """What is stable in an interim text begins all that follow it."""
    speaker = Speaker()
    for chunk in chunks(recording.sound, 4000):
        speaker.say(chunk)
        speaker.serve(engine)
    speaker.finish(engine)
    interims = speaker.interims
    assert len(interims) >= 2 * len(recording.sentences)
    for final in speaker.finals:
        own = [one for one in interims if one["segment"] == final["segment"]]
        for one, later in pairwise([*own, final]):
            assert later["transcription"].startswith(one["stable"])
        assert own[-1]["stable"]
        assert final["stable"] == final["transcription"]


@FEW
@given(
    sizes=st.lists(st.integers(100, 60_000), min_size=1, max_size=6),
    serve_every=st.integers(1, 7),
)
def test_any_chunking_gives_the_same_finals(
    recording: Spoken, sizes: list[int], serve_every: int
) -> None:
    """However the sound is cut, and however rarely the engine has time."""
    engine, speaker = Hearing(recording), Speaker()
    for number, chunk in enumerate(chunks(recording.sound, *sizes)):
        speaker.say(chunk, len(chunk))
        if number % serve_every == 0:
            speaker.serve(engine)
    assert speaker.finish(engine)["text"] == said(recording)
    assert [final["transcription"] for final in speaker.finals] == [
        sentence(recording, number) for number in range(len(recording.sentences))
    ]


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_finish_in_the_middle_of_a_sentence_loses_nothing(
    recording: Spoken, engine: Hearing, count: int
) -> None:
    speaker = Speaker()
    end_s = recording.words[count - 1][2]
    speaker.say(recording.sound[: round(end_s * RATE_HZ)], 1600)
    assert speaker.finish(engine)["text"] == said(recording, 0, count)


def test_after_finished_all_begins_anew(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    for number in (0, 2):
        speaker.events.clear()
        speaker.say(recording.part(number, number + 1))
        assert speaker.finish(engine)["text"] == sentence(recording, number)
        assert speaker.finals[0]["segment"] == 0
        assert speaker.finals[0]["start"] < 1.0
    assert speaker.session.times() == {"received_s": 0.0, "decoded_s": 0.0, "waiting_s": 0.0}


def test_finish_twice_is_answered_once(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    speaker.say(recording.part(0, 1))
    speaker.session.finish(speaker.now_s)
    with pytest.raises(SessionError, match="Wait for `finished`") as refused:
        speaker.say(recording.part(1, 2))
    assert refused.value.code == "finishing"
    assert speaker.finish(engine)["text"] == sentence(recording, 0)
    assert len(speaker.sent("finished")) == 1
    speaker.say(recording.part(1, 2))
    assert speaker.finish(engine)["text"] == sentence(recording, 1)


def test_finish_without_a_sound(engine: Hearing) -> None:
    assert Speaker().finish(engine)["text"] == ""
    assert engine.asked == []


def test_a_short_sound_is_padded_and_decoded(recording: Spoken, engine: Hearing) -> None:
    """Half a second in all: it waits, and is decoded at `finish`, a second long."""
    word, start_s, end_s = recording.words[4]
    speaker = Speaker()
    speaker.say(recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)], 1000)
    assert speaker.session.due() is None or not speaker.events
    speaker.session.finish(speaker.now_s)
    task = speaker.session.task()
    assert task is not None
    assert task.is_final
    assert len(task.speech) == RATE_HZ
    speaker.serve_task(engine, task)
    assert speaker.text == word


QUIET: dict[str, Callable[[], Speech]] = {
    "silence": lambda: silence(20),
    "little silence": lambda: silence(0.3),
    "noise": lambda: hiss(20),
    "music": lambda: instrumental()[0],
}


@pytest.mark.parametrize("name", QUIET)
def test_where_nobody_speaks_nothing_is_sent(name: str, engine: Hearing) -> None:
    speaker = Speaker()
    speaker.say(QUIET[name]())
    assert speaker.finish(engine)["text"] == ""
    assert speaker.sent("transcription") == []
    assert engine.asked == [], "the engine is not even asked"


@pytest.mark.parametrize("minutes", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_a_long_silence_takes_no_memory(minutes: int) -> None:
    speaker = Speaker(replace(LIMITS, idle_s=1))
    pause = silence(20)
    for _ in range(3 * minutes):
        speaker.say(pause, len(pause))
        assert len(speaker.session._received) <= 1.1 * RATE_HZ
    assert speaker.session.times()["received_s"] == 60 * minutes
    assert speaker.session.times()["waiting_s"] == 0


def test_words_after_a_long_silence_keep_their_times(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    speaker.say(silence(100.01))
    speaker.say(recording.part(0, 1))
    assert speaker.finish(engine)["text"] == sentence(recording, 0)
    assert speaker.finals[0]["words"][0]["start"] == pytest.approx(
        100.01 + recording.words[0][1], abs=0.05
    )


def test_a_final_that_is_empty_takes_the_interim_text_back(
    recording: Spoken, engine: Hearing
) -> None:
    speaker = Speaker()
    speaker.say(recording.part(0, 1)[: 2 * RATE_HZ])
    speaker.serve(engine)
    assert speaker.interims
    speaker.session.finish(speaker.now_s)
    task = speaker.session.task()
    assert task is not None
    speaker.session.apply(task, [], 0.1)
    (final,) = speaker.finals
    assert (final["transcription"], final["segment"], final["words"]) == ("", 0, [])
    assert speaker.session.end_if_done()
    assert speaker.sent("finished")[0]["text"] == ""


def test_interim_texts_that_vanish_are_taken_back_too(recording: Spoken, engine: Hearing) -> None:
    """The first hypothesis said something, the second one nothing, and the final one nothing."""
    speaker = Speaker()
    speaker.say(recording.part(0, 1)[: round(1.5 * RATE_HZ)])
    speaker.serve(engine)
    assert len(speaker.interims) == 1
    speaker.say(recording.part(0, 1)[round(1.5 * RATE_HZ) : round(2.3 * RATE_HZ)])
    task = speaker.session.task()
    assert task is not None
    speaker.session.apply(task, [], 0.1)
    speaker.session.finish(speaker.now_s)
    last = speaker.session.task()
    assert last is not None
    speaker.session.apply(last, [], 0.1)
    assert [final["transcription"] for final in speaker.finals] == [""]


def test_what_the_model_holds_for_silence_is_not_sent(recording: Spoken) -> None:
    speaker = Speaker()
    speaker.say(recording.part(0, 1))
    speaker.session.finish(speaker.now_s)
    task = speaker.session.task()
    assert task is not None
    doubtful = Segment(
        0, 1, " Thanks for watching", (), average_log_probability=-1.5, no_speech_probability=0.9
    )
    speaker.session.apply(task, [doubtful], 0.1)
    assert speaker.sent("transcription") == []


def test_chinese_has_no_spaces_between_segments_and_utterances() -> None:
    """So the final text begins with what was stable, and a last word in English has its space."""
    texts = ("今天天气很好。", "我们去公园。", " OK.")
    heard = [
        Segment(at_s, at_s + 1, text, (Word(text, at_s, at_s + 1, 0.9),), -0.1)
        for at_s, text in enumerate(texts)
    ]
    span = Span(0, 3 * RATE_HZ)
    utterance = Utterance(0, with_words=False)
    for _ in range(2):
        interim = utterance.interim(span, heard, "zh")
    final = utterance.final(span, heard, "zh")
    assert interim is not None
    assert final is not None
    assert interim["stable"] == final["transcription"] == "今天天气很好。我们去公园。 OK."


def test_settings_reach_the_texts(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker(words=False, interim_results=False, language="de")
    speaker.say(recording.part(0, 2))
    speaker.serve(engine)
    assert speaker.interims == []
    speaker.finish(engine)
    assert [final["language"] for final in speaker.finals] == ["de", "de"]
    assert all("words" not in final for final in speaker.finals)


def test_settings_change_between_utterances_only(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker()
    wanted = LiveSettings(variant="mini", endpointing_ms=2000, words=False)
    speaker.say(np.append(silence(1.01), recording.part(0, 1)[: 2 * RATE_HZ]))
    with pytest.raises(SessionError) as refused:
        speaker.session.configure(wanted)
    assert refused.value.code == "utterance_running"
    speaker.say(np.append(recording.part(0, 1)[2 * RATE_HZ :], silence(1.005)), 777)
    with pytest.raises(SessionError):
        speaker.session.configure(wanted)
    speaker.serve(engine)
    speaker.session.configure(wanted)
    speaker.say(np.append(recording.part(1, 2), silence(0.6)), 777)
    speaker.say(recording.part(2, 3), 777)
    speaker.finish(engine)
    assert [final["transcription"] for final in speaker.finals] == [
        sentence(recording, 0),
        f"{sentence(recording, 1)} {sentence(recording, 2)}",
    ]
    assert ["words" in final for final in speaker.finals] == [True, False]


@pytest.mark.parametrize(("speed", "is_file"), [(1.0, False), (10.0, True)])
def test_only_audio_that_comes_faster_than_speech_is_a_file(
    recording: Spoken, engine: Hearing, speed: float, is_file: bool
) -> None:
    """A slow machine decodes nothing until the backlog is full, then everything."""
    speaker = Speaker(replace(LIMITS, waiting_s=5))
    for chunk in chunks(recording.sound, 4000):
        seconds = len(chunk) / RATE_HZ
        speaker.now_s += seconds / speed
        try:
            speaker.session.admit(seconds)
        except SessionError:
            break
        speaker.session.feed(chunk, speaker.now_s)
    speaker.session.note_backlog(seconds, speaker.now_s)
    assert speaker.session.is_file is is_file
    speaker.serve(engine)
    speaker.say(silence(1))
    speaker.serve(engine)
    speaker.say(silence(1))
    assert not speaker.session.is_file
