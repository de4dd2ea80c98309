"""Languages that a model has no token for are refused, wherever they are asked for."""

from collections.abc import Iterator

import pytest

from tests.support.live_client import Client
from tests.support.openai_audio import ask, assert_error
from tests.support.problems import assert_problem
from tests.support.server import ROOT, Server
from tests.support.speech import RECORDING, Spoken

# Its vocabulary is that of the releases before large-v3.
MINI = ROOT / "pretrained" / "whisper-mini" / "ctranslate2"
SENTENCE = "`language` is 'yue', which {} does not support."
OWN = SENTENCE.format("this variant of Whisper")


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
