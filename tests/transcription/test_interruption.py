"""A transcription is ended in the middle of a window, and known lyrics between two passes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.family import JobContext
from studio.sources import Source
from studio.transcription import interruption
from studio.transcription.engine import DecodeOptions, Speech, TimedText
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.interruption import current_check, interruptible, may_go_on
from studio.transcription.options import TranscriptionOptions
from studio.transcription.transcribe import transcribe
from studio.transcription.transcript import Segment
from tests.support.speech import MINI, Spoken, write_speech

LADDER = replace(DecodeOptions("en"), temperatures=(0.8,) * 10, word_timestamps=False)


class Canceled(Exception):
    pass


class Counting(FasterWhisper):
    """Counts how often it aligns."""

    alignments = 0

    def align(self, speech: Speech, texts: Sequence[str], language: str) -> list[TimedText]:
        self.alignments += 1
        return super().align(speech, texts, language)


@pytest.fixture(scope="module", params=["openvino", "ctranslate2"])
def engine(request: pytest.FixtureRequest) -> FasterWhisper:
    return FasterWhisper(MINI / "ctranslate2", 0, request.param)


@pytest.mark.parametrize("count", [1, 3])
def test_a_window_that_is_decoded_is_ended(
    engine: FasterWhisper, recording: Spoken, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(interruption, "ASK_EVERY_S", 0.0)
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


class Batches(FasterWhisper):
    """Notes the batches that it gets, and has memory for two windows at a time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.batches: list[Sequence[Speech]] = []

    def max_windows(self, beam_size: int) -> int:
        return 2

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        self.batches.append(windows)
        return super().transcribe(windows, options)


@pytest.fixture
def long_speech(tmp_path: Path) -> Source:
    return Source(write_speech(tmp_path / "speech.wav", 3), 78.0)


BATCHED = TranscriptionOptions(language="en", beam_size=1, temperature=0.0, batch_size=64)


def test_a_transcription_is_ended_while_a_batch_fills(long_speech: Source, tmp_path: Path) -> None:
    engine = Batches(MINI / "ctranslate2", 0)
    reports: list[float] = []

    def report(_: str, progress: float) -> None:
        reports.append(progress)
        if len(reports) == 2:
            raise Canceled

    with pytest.raises(Canceled):
        transcribe(engine, long_speech, JobContext(BATCHED, tmp_path, report))
    assert engine.batches == []


def test_a_batch_has_no_more_windows_than_the_engine_decodes_together(
    long_speech: Source, tmp_path: Path
) -> None:
    engine = Batches(MINI / "ctranslate2", 0)
    transcribe(engine, long_speech, JobContext(BATCHED, tmp_path))
    assert [len(batch) for batch in engine.batches][:2] == [2, 1]
    # Views would keep whole minutes in memory.
    assert all(window.base is None for batch in engine.batches for window in batch)


def test_known_lyrics_are_ended_between_two_passes(recording: Spoken, tmp_path: Path) -> None:
    engine = Counting(MINI / "ctranslate2", 0)
    source = Source(write_speech(tmp_path / "speech.wav", 3), 78.0)
    lyrics = "\n".join(3 * recording.sentences)
    options = TranscriptionOptions(language="en", beam_size=1, temperature=0.0, lyrics=lyrics)
    counts: list[int] = []

    def report(stage: str, _: float) -> None:
        if stage == "aligning":
            counts.append(engine.alignments)
        if len(counts) == 3:
            raise Canceled

    with pytest.raises(Canceled):
        transcribe(engine, source, JobContext(options, tmp_path, report))
    # A pass aligns its words again if some of them were not said.
    assert len(counts) == 3
    assert all(after - before <= 2 for before, after in pairwise(counts))
    assert engine.alignments == counts[-1]


def test_the_check_belongs_to_the_block() -> None:
    with interruptible(lambda: None):
        outer = current_check()
        with interruptible(None):
            assert current_check() is None
        assert current_check() is outer
    assert current_check() is None
    may_go_on()
