"""The language of a live session is kept once it is certain, and not before."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from studio.transcription.engine import RATE_HZ, DecodeOptions
from studio.transcription.live.detection import Detected, Detection
from tests.support.hearing import Hearing, Speaker, silence
from tests.support.speech import Spoken


@pytest.mark.parametrize(
    ("utterances", "kept"),
    [
        ([("de", 0.9, 3.5)], "de"),
        ([("de", 0.9, 2.0)], None),
        ([("de", 0.9, 2.0), ("de", 0.8, 1.5)], "de"),
        ([("de", 0.7, 20.0), ("de", 0.7, 20.0)], None),
        ([("de", 0.9, 2.0), ("cy", 0.7, 2.0), ("de", 0.9, 2.0)], "de"),
        ([("de", 0.9, 2.0), ("cy", 0.9, 2.0), ("de", 0.9, 2.0)], None),
    ],
)
def test_a_language_is_kept_after_enough_sure_speech(
    utterances: Sequence[tuple[str, float, float]], kept: str | None
) -> None:
    detection = Detection()
    found = [
        detection.ended(Detected(language, probability), seconds)
        for language, probability, seconds in utterances
    ]
    assert found == [*[None] * (len(utterances) - 1), kept]


class Bilingual:
    """A speaker whose language is detected in each task, if the session does not know it."""

    def __init__(self, recording: Spoken, **settings: Any) -> None:
        self.speaker = Speaker(**settings)
        self._engine = Hearing(recording)

    def decode(self, language: str, probability: float) -> str | None:
        """Decode the next task; the language in which the session wants it decoded."""
        session = self.speaker.session
        task = session.task()
        assert task is not None
        known = session.language_for(task)
        options = DecodeOptions(known or language)
        [segments] = self._engine.transcribe([task.speech], options)
        session.apply(task, segments, 0.1, None if known else Detected(language, probability))
        return known


def test_an_interim_text_does_not_decide_the_language(recording: Spoken) -> None:
    bilingual = Bilingual(recording)
    speaker = bilingual.speaker
    sentence = recording.part(0, 1)
    speaker.say(sentence[: 2 * RATE_HZ])
    assert bilingual.decode("cy", 0.95) is None
    speaker.say(np.append(sentence[2 * RATE_HZ :], silence(1)))
    assert bilingual.decode("de", 0.95) is None
    assert speaker.session.language is None
    assert [data["language"] for data in speaker.sent("transcription")] == ["cy", "de"]


def test_an_interim_text_of_much_speech_is_in_the_language_of_the_one_before(
    recording: Spoken,
) -> None:
    bilingual = Bilingual(recording, endpointing_ms=1500)
    bilingual.speaker.say(recording.part(0, 2))
    assert bilingual.decode("de", 0.95) is None
    bilingual.speaker.say(recording.part(2, 3))
    assert bilingual.decode("never asked", 0.95) == "de"
    bilingual.speaker.say(silence(2))
    assert bilingual.decode("cy", 0.7) is None
    assert bilingual.speaker.finals[0]["language"] == "cy"
    assert bilingual.speaker.session.language is None


def test_the_next_utterance_is_in_the_language_that_is_kept(recording: Spoken) -> None:
    bilingual = Bilingual(recording)
    speaker = bilingual.speaker
    for first, language in ((0, "cy"), (1, "de"), (2, "de"), (3, "never asked")):
        speaker.say(recording.part(first, first + 1))
        speaker.say(silence(1))
        while speaker.session.due() is not None:
            bilingual.decode(language, 0.95)
    # After the third, more than 3 s were surely in one language.
    assert [data["language"] for data in speaker.finals] == ["cy", "de", "de", "de"]
    assert speaker.session.language == "de"


def test_a_kept_language_can_be_forgotten() -> None:
    speaker = Speaker()
    session = speaker.session
    session.language = "de"
    session.configure(session.settings)
    assert session.language == "de"
    session.configure(session.settings, detect_again=True)
    assert session.language is None
