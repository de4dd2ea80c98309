"""A transcription is ended in the middle of a window, whatever it runs on."""

from dataclasses import replace

import numpy as np
import pytest

from studio.transcription import interruption
from studio.transcription.engine import DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.interruption import current_check, interruptible, may_go_on
from tests.support.speech import MINI, Spoken

LADDER = replace(DecodeOptions("en"), temperatures=(0.8,) * 10, word_timestamps=False)


class Canceled(Exception):
    pass


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("runtime", ["openvino", "ctranslate2"])
def test_a_window_that_is_decoded_is_ended(
    recording: Spoken, monkeypatch: pytest.MonkeyPatch, runtime: str, count: int
) -> None:
    monkeypatch.setattr(interruption, "ASK_EVERY_S", 0.0)
    engine = FasterWhisper(MINI / "ctranslate2", 0, runtime)
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Canceled

    with interruptible(check), pytest.raises(Canceled):
        list(engine.transcribe([recording.sound] * count, LADDER))
    # Another request is not affected.
    assert list(engine.transcribe([np.zeros(16_000, np.float32)], LADDER)) == [[]]


def test_the_check_belongs_to_the_block() -> None:
    with interruptible(lambda: None):
        outer = current_check()
        with interruptible(None):
            assert current_check() is None
        assert current_check() is outer
    assert current_check() is None
    may_go_on()
