"""What Wyoming clients are offered, and which of their hints are used."""

from pathlib import Path
from typing import Any

import pytest

from studio.concurrency import ConcurrencyLimit
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.languages import EARLIER_LANGUAGES, ENGLISH
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web.compat.wyoming.connection import hotwords_of
from studio.web.compat.wyoming.info import Speech, info_of
from tests.support.speech import MINI

LIMITS = Limits(
    sessions=1,
    sessions_of_a_client=1,
    waiting_s=5,
    silence_s=1,
    length_s=10,
    idle_s=60,
    chunk_bytes=1 << 16,
)


def languages(folder: Path, default: str) -> set[str]:
    """What Home Assistant offers: the languages of all installed models."""

    def lease(_variant: str) -> Any:
        raise AssertionError("nothing is said here")

    catalogue = WhisperCatalogue(MINI, folder, folder / "none", FASTER_WHISPER)
    scheduler = Scheduler(lease, ConcurrencyLimit(1, 1))
    [program] = info_of(Speech(scheduler, LIMITS, catalogue, default, "1")).asr
    assert program.models[0].name == default
    return {code for model in program.models if model.installed for code in model.languages}


@pytest.mark.parametrize(
    ("default", "known"),
    [("mini", ENGLISH), ("small.en", ENGLISH), ("small", EARLIER_LANGUAGES)],
)
def test_only_the_languages_of_the_default_are_offered(
    tmp_path: Path, default: str, known: frozenset[str]
) -> None:
    """Home Assistant never names a model. The default may still have to be downloaded."""
    (tmp_path / "own").symlink_to(MINI / "ctranslate2")
    assert languages(tmp_path, default) == known


@pytest.mark.parametrize(
    ("words", "hotwords"),
    [
        (["Ada", "lamp"], "Ada, lamp"),
        (["Ada", "x" * 600, "lamp"], "Ada, lamp"),
        (["x" * 490, "nine char", "a lamp", "b"], "x" * 490 + ", a lamp"),
        (["x" * 501], ""),
    ],
)
def test_hints_are_used_as_far_as_they_fit(words: list[str], hotwords: str) -> None:
    assert hotwords_of(words) == hotwords
