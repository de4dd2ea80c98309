"""An utterance is decoded in the silence that will end it, so that its final comes at once."""

import numpy as np
import pytest

from studio.transcription.engine import RATE_HZ
from tests.support.hearing import Hearing, Speaker, chunks, silence
from tests.support.speech import Spoken


@pytest.fixture
def engine(recording: Spoken) -> Hearing:
    return Hearing(recording)


def sentence(recording: Spoken, number: int) -> str:
    return recording.sentences[number].rstrip(".")


@pytest.mark.parametrize("interim_results", [True, False])
def test_a_final_needs_no_decoding_when_the_silence_has_lasted(
    recording: Spoken, engine: Hearing, interim_results: bool
) -> None:
    speaker = Speaker(language="en", interim_results=interim_results)
    sound = np.append(recording.part(0, 1), silence(1))
    while not speaker.finals:
        speaker.serve(engine)
        assert speaker.finals == []
        speaker.say(sound[:1600])
        sound = sound[1600:]
    assert speaker.text == sentence(recording, 0)
    assert speaker.session.due() is None
    assert speaker.finish(engine)["text"] == sentence(recording, 0)
    assert len(speaker.finals) == 1


def test_who_goes_on_after_a_pause_is_decoded_again(recording: Spoken, engine: Hearing) -> None:
    """The pause is longer than it takes to foresee an end, and shorter than the end."""
    speaker = Speaker(language="en", endpointing_ms=2000)
    for chunk in chunks(recording.sound, 1600):
        speaker.say(chunk)
        speaker.serve(engine)
    speaker.finish(engine)
    assert speaker.text == " ".join(word for word, _, _ in recording.words)
    assert len(speaker.finals) < len(recording.sentences)


def test_nothing_is_decoded_while_a_pause_goes_on(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker(language="en", endpointing_ms=5000)
    for chunk in chunks(np.append(recording.part(0, 1), silence(1)), 1600):
        speaker.say(chunk)
        speaker.serve(engine)
    asked = len(engine.asked)
    for chunk in chunks(silence(3), 1600):
        speaker.say(chunk)
        speaker.serve(engine)
    assert len(engine.asked) == asked
    assert speaker.session.times()["waiting_s"] == 0.0
    assert speaker.finals == []


def test_an_end_that_comes_while_it_is_foreseen_is_decoded_once(
    recording: Spoken, engine: Hearing
) -> None:
    speaker = Speaker(language="en")
    sound = np.append(recording.part(0, 1), silence(2))
    task = None
    while task is None or not task.is_early:
        speaker.say(sound[:1600])
        sound = sound[1600:]
        if speaker.session.due() is not None:
            task = speaker.session.task()
            assert task is not None
            if not task.is_early:
                speaker.serve_task(engine, task)
    speaker.say(sound)
    assert speaker.finals == []
    asked = len(engine.asked)
    speaker.serve_task(engine, task)
    assert speaker.text == sentence(recording, 0)
    speaker.finish(engine)
    assert len(engine.asked) == asked + 1
    assert len(speaker.finals) == 1


def test_what_failed_early_is_decoded_at_its_end(recording: Spoken, engine: Hearing) -> None:
    speaker = Speaker(language="en")
    for chunk in chunks(np.append(recording.part(0, 1), silence(1)), 1600):
        speaker.say(chunk)
        while speaker.session.due() is not None:
            task = speaker.session.task()
            assert task is not None
            if task.is_early:
                speaker.session.fail(task, "internal_error", "It broke.")
            else:
                speaker.serve_task(engine, task)
    assert speaker.text == sentence(recording, 0)
    assert speaker.sent("error") == []


def test_an_early_result_is_the_result_of_the_end(recording: Spoken, engine: Hearing) -> None:
    """Both are of the same samples, whatever the chunks."""
    texts = []
    for size in (160, 1600, RATE_HZ):
        speaker = Speaker(language="en")
        for chunk in chunks(recording.sound, size):
            speaker.say(chunk)
            speaker.serve(engine)
        speaker.finish(engine)
        texts.append([(data["start"], data["transcription"]) for data in speaker.finals])
    late = Speaker(language="en")
    late.say(recording.sound)
    late.finish(engine)
    texts.append([(data["start"], data["transcription"]) for data in late.finals])
    assert texts[1:] == texts[:-1]
