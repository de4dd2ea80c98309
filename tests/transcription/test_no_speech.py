"""Where nobody speaks nothing is written: silence, noise and music end as an empty text."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio.transcription.transcribe import NOTHING_SAID
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, Sound, noise, write_wav
from tests.support.speech import data, instrumental, text, transcribed
from tests.support.subtitles import read_lrc, read_srt, read_vtt

QUIET: dict[str, Callable[[], Sound]] = {
    "silence": lambda: np.zeros((2, 35 * RATE_HZ), np.float32),
    "noise": lambda: np.random.default_rng(5).normal(0, 0.05, (2, 35 * RATE_HZ)).astype(np.float32),
    "music": lambda: instrumental(RATE_HZ, 2),
}


@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize("name", QUIET)
def test_where_nothing_is_said_the_text_is_empty(
    speaker: Server, tmp_path: Path, name: str, vad: bool
) -> None:
    file_id = transcribed(speaker, write_wav(tmp_path / "quiet.wav", QUIET[name]()), vad=vad)
    result = speaker.get(f"/status/{file_id}").json()["jobs"][0]["result"]
    assert (result["note"], result["segments"], result["words"]) == (NOTHING_SAID, 0, 0)
    assert text(speaker, file_id) == ""
    assert read_srt(text(speaker, file_id, "srt")) == []
    assert read_vtt(text(speaker, file_id, "vtt")) == []
    assert read_lrc(text(speaker, file_id, "lrc")) == []
    assert text(speaker, file_id, "tsv") == "start\tend\ttext\n"
    assert data(speaker, file_id)["segments"] == []


@pytest.mark.parametrize("vad", [True, False])
def test_a_fifth_of_a_second(speaker: Server, tmp_path: Path, vad: bool) -> None:
    short = write_wav(tmp_path / "short.wav", noise(0.2))
    file_id = transcribed(speaker, short, vad=vad)
    assert len(text(speaker, file_id).split()) <= 1
    assert "[length:00:00]\n" in text(speaker, file_id, "lrc")
