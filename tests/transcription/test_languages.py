"""Languages are detected in enough speech; those that a model has no token for are refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.family import JobContext
from studio.sources import Source
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.language_codes import OTHER_CODES
from studio.transcription.languages import LANGUAGES, language_code
from studio.transcription.options import TranscriptionOptions
from studio.transcription.transcribe import transcribe
from tests.support.hearing import Hearing, silence
from tests.support.live_client import Client
from tests.support.openai_audio import ask, assert_error
from tests.support.problems import assert_problem
from tests.support.server import ROOT, Server
from tests.support.sounds import write_wav
from tests.support.speech import RECORDING, Spoken

# Its vocabulary is that of the releases before large-v3.
MINI = ROOT / "pretrained" / "whisper-mini" / "ctranslate2"
SENTENCE = "`language` is 'yue', which {} does not support."
OWN = SENTENCE.format("this variant of Whisper")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        *(("nb", "no"), ("nb-NO", "no"), ("nob", "no"), ("nor", "no"), ("nn", "nn"), ("nno", "nn")),
        *(("jv", "jw"), ("jav", "jw"), ("jw", "jw"), ("fil", "tl"), ("fil-PH", "tl")),
        *(("iw", "he"), ("in", "id"), ("ji", "yi"), ("mo", "ro")),
        *(("cmn", "zh"), ("cmn-Hans-CN", "zh"), ("yue", "yue"), ("haw", "haw")),
        *(("deu", "de"), ("ger", "de"), ("DEU-at", "de"), ("fra", "fr"), ("fre", "fr")),
        *(("eng", "en"), ("eng_US", "en"), ("lao", "lo"), ("Lao", "lo")),
    ],
)
def test_languages_have_several_codes(given: str, code: str) -> None:
    assert language_code(given) == code


def test_every_language_has_a_code_of_three_letters() -> None:
    codes = {code for given, code in OTHER_CODES.items() if len(given) == 3}
    assert codes | {"haw", "yue"} == LANGUAGES
    assert not LANGUAGES & OTHER_CODES.keys()
    assert "xyz" not in OTHER_CODES and language_code("xyz") is None


class Detecting(Hearing):
    """Takes less than 3 s for Welsh, and notes in how much speech it detects a language."""

    def __init__(self, spoken: Spoken) -> None:
        super().__init__(spoken)
        self.seconds: list[float] = []

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        self.seconds.append(len(speech) / RATE_HZ)
        return ("en", 0.9) if self.seconds[-1] >= 3 else ("cy", 0.3)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("times", [1, 3])
def test_a_word_before_a_pause_does_not_decide_the_language(
    recording: Spoken, tmp_path: Path, batch_size: int, times: int
) -> None:
    engine = Detecting(recording)
    _, start_s, end_s = recording.words[4]
    word = recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    sound = np.concatenate([silence(1), word, *[silence(7), recording.sound] * times])
    path = write_wav(tmp_path / "word.wav", sound[None], RATE_HZ)
    options = TranscriptionOptions(batch_size=batch_size)
    source = Source(path, len(sound) / RATE_HZ)
    result = transcribe(engine, source, JobContext(options, tmp_path))
    assert result.language == "en"
    assert [options.language for options in engine.asked] == ["en"] * (1 + times)
    (seconds,) = engine.seconds
    assert seconds == 30 if times > 1 else 15 < seconds < 21


@pytest.fixture(scope="module")
def with_own(speaker: Server) -> Iterator[Server]:
    """A server with a variant `own`, whose name does not say which languages it has."""
    own = speaker.folder / "weights" / "whisper" / "own"
    own.parent.mkdir(parents=True)
    own.symlink_to(MINI)
    yield speaker
    own.unlink()
    own.parent.rmdir()


def test_a_job(with_own: Server) -> None:
    file_id = with_own.upload(RECORDING)
    options = {"language": "Cantonese", "model_variant": "base"}
    answer = with_own.post(f"/process/whisper/{file_id}", json=options)
    sentence = SENTENCE.format("the variant 'base'")
    assert sentence in assert_problem(answer, "invalid_option")["error"]
    with_own.process(file_id, "whisper", language="yue", model_variant="own")
    status = with_own.wait(file_id)
    assert (status["status"], status["error"]["code"]) == ("failed", "invalid_option")
    assert OWN in status["error"]["error"]


def test_openai(with_own: Server) -> None:
    answer = ask(with_own, language="yue", model="own")
    assert OWN in assert_error(answer, 400, "invalid_option", "language")


def test_live_speech(with_own: Server, recording: Spoken) -> None:
    with Client(with_own) as client:
        client.emit("configure", {"variant": "own", "language": "yue"})
        client.say(recording.sound)
        client.emit("finish")
        _, error = client.until("error")[-1]
    assert error["code"] == "invalid_option" and OWN in error["message"]
