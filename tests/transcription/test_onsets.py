"""Known lyrics of a singer without accompaniment begin on the onsets of the voice."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from studio.family import JobContext
from studio.sources import Source
from studio.transcription import interruption
from studio.transcription.alignment.lyrics import Line
from studio.transcription.alignment.onsets import FRAME_S, LevelMeter, on_onsets
from studio.transcription.alignment.voice_time import VoiceTime
from studio.transcription.engine import RATE_HZ, TimedText
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.interruption import interruptible
from studio.transcription.options import TranscriptionOptions
from studio.transcription.result import TRANSCRIPT_FILE
from studio.transcription.transcribe import transcribe
from tests.support.sounds import SONG, decode_all
from tests.support.speech import MINI
from tests.support.tunes import melody
from training.sample import DURATION_S, SONG_SEED
from training.whisper.singing import sung_words, to_lines
from training.whisper.words import VOCABULARY

VOCALS = SONG / "vocals.flac"
LATE_S, MEDIAN_S = 0.3, 0.06


def lines_of(*counts: int) -> list[Line]:
    return [Line("la", (" la",) * count) for count in counts]


def test_words_that_are_a_little_off_begin_on_their_notes() -> None:
    truth_s = np.array([note.start_s for note in melody()])
    off_s = np.resize([0.15, -0.2, 0.0, 0.1], len(truth_s))
    words = [TimedText(start_s, start_s + 0.1, 0.5) for start_s in truth_s + off_s]
    meter = LevelMeter()
    for block in np.array_split(decode_all(VOCALS, RATE_HZ, 1)[0], 7):
        meter.add(block)
    given = [None, *words, None]
    # A word that was taken as not said has an onset of its own.
    doubtful = {5: words[4]}
    given[5] = None
    moved = on_onsets(given, doubtful, lines_of(len(given)), meter.finish())
    assert moved[0] is moved[-1] is None
    found = [one for one in moved if one]
    starts_s = np.array([one.start_s for one in found])
    assert np.quantile(np.abs(starts_s - truth_s), 0.9) <= MEDIAN_S
    ends_s = np.array([one.end_s for one in found])
    assert (ends_s > starts_s).all() and (ends_s[:-1] <= starts_s[1:]).all()


def test_words_of_silence_stay_where_they_are() -> None:
    meter = LevelMeter()
    meter.add(np.zeros(2 * RATE_HZ, np.float32))
    words = [TimedText(0.5, 0.9, 0.5), None, TimedText(1.0, 1.4, 0.5)]
    doubtful = {1: TimedText(0.7, 0.8, 0.05)}
    assert on_onsets(words, doubtful, lines_of(3), meter.finish()) == words
    assert on_onsets([None], {}, lines_of(1), LevelMeter().finish()) == [None]


def test_many_words_at_the_same_time_need_little_memory() -> None:
    words = [TimedText(1.0, 1.1, 0.5)] * 3000
    levels = np.full(600, -60, np.float32)
    levels[240:] = -10
    tracemalloc.start()
    try:
        moved = on_onsets(words, {}, lines_of(3000), levels)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    starts_s = [one.start_s for one in moved if one]
    # It costs less if the first word begins before the others.
    assert starts_s == pytest.approx([1.0] + [1.2] * 2999, abs=2 * FRAME_S)
    assert peak_bytes < 8 << 20


def test_moving_words_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Canceled(Exception):
        pass

    def check() -> None:
        raise Canceled

    monkeypatch.setattr(interruption, "ASK_EVERY_S", 0.0)
    with interruptible(check), pytest.raises(Canceled):
        on_onsets([TimedText(1.0, 1.1, 0.5)], {}, lines_of(1), np.zeros(600, np.float32))


def test_lines_rather_begin_after_a_rest() -> None:
    levels = np.full(600, -60, np.float32)
    levels[40:195] = levels[200:240] = levels[400:] = -10
    words = [TimedText(0.2, 0.9, 0.5), TimedText(1.45, 1.9, 0.5)]
    for counts, start_s in (((2,), 1.0), ((1, 1), 2.0)):
        _, second = on_onsets(words, {}, lines_of(*counts), levels)
        assert second and second.start_s == pytest.approx(start_s, abs=2 * FRAME_S)


def test_time_of_voice_stands_still_in_rests() -> None:
    levels = np.full(1000, -60, np.float32)
    levels[200:400] = levels[800:] = -10
    voice = VoiceTime(levels, 1000 * FRAME_S)
    assert voice.voice_s(0.0, 5.0) == pytest.approx(2.0)
    assert voice.voice_s(2.0, 4.5) == pytest.approx(0.5)
    assert voice.after(0.5, 1.0) == pytest.approx(4.0)
    assert voice.after(1.5, 0.25) == pytest.approx(1.75)
    assert voice.after(4.9, 9.0) == pytest.approx(5.0)


def test_lyrics_of_vocals_begin_with_their_notes(tmp_path: Path) -> None:
    rows = [row for row in sung_words(SONG_SEED, held_out=True) if row[2] < DURATION_S]
    lyrics = "\n".join(
        " ".join(VOCABULARY[int(word)] for word, *_ in line) for line in to_lines(np.array(rows))
    )
    options = TranscriptionOptions(lyrics=lyrics, language="en", temperature=0.0, source="vocals")
    engine = FasterWhisper(MINI / "ctranslate2", 0)
    transcribe(engine, Source(VOCALS, DURATION_S), JobContext(options, tmp_path))
    written = json.loads((tmp_path / TRANSCRIPT_FILE).read_text("utf-8"))
    words = [word for segment in written["segments"] for word in segment["words"]]
    assert len(words) == len(rows)
    apart_s = [
        abs(word["start_s"] - row[1])
        for word, row in zip(words, rows, strict=True)
        if word.get("placed", True)
    ]
    assert len(apart_s) >= 0.8 * len(rows)
    assert np.median(apart_s) <= MEDIAN_S
    assert np.mean(np.array(apart_s) <= LATE_S) >= 0.8
