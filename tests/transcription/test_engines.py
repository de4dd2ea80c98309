"""Both engines of Whisper keep the same promises on the same weights."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.family import JobContext
from studio.sources import Source
from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech, SpeechEngine
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.languages import EARLIER_LANGUAGES
from studio.transcription.openai_engine import OpenaiWhisper
from studio.transcription.options import TranscriptionOptions
from studio.transcription.result import TRANSCRIPT_FILE
from studio.transcription.transcribe import transcribe
from studio.transcription.transcript import Segment, Word
from tests.support.hearing import silence
from tests.support.sounds import write_wav
from tests.support.speech import (
    MAX_WRONG,
    MAX_WRONG_ELSEWHERE,
    MINI,
    Spoken,
    instrumental,
    late_s,
    text_of,
    wrong,
)

# openai-whisper leaves the file of its tokens to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ENGLISH = DecodeOptions("en")
# Without a second try at another temperature, whose draws are random.
PLAIN = DecodeOptions("en", temperatures=(0.0,))
TIME_OFF_S = 0.25
# The token of the time 0.
FIRST_TIME = 50_364


@pytest.fixture(scope="module")
def faster() -> FasterWhisper:
    return FasterWhisper(MINI / "ctranslate2", 0)


@pytest.fixture(scope="module")
def openai() -> SpeechEngine:
    return OpenaiWhisper(MINI / "ctranslate2", "mini")


def heard(
    engine: SpeechEngine, *windows: Speech, options: DecodeOptions = PLAIN
) -> list[list[Segment]]:
    return list(engine.transcribe(windows, options))


def alone(engine: SpeechEngine, *windows: Speech, options: DecodeOptions = PLAIN) -> list[str]:
    return [text_of(heard(engine, window, options=options)[0]) for window in windows]


def words(segments: list[Segment]) -> list[Word]:
    return [word for segment in segments for word in segment.words]


def hiss(seconds: float, level: float) -> Speech:
    generator = np.random.default_rng(9)
    return generator.normal(0, level, round(seconds * RATE_HZ)).astype(np.float32)


def test_both_engines_understand_the_same(
    faster: SpeechEngine, openai: SpeechEngine, recording: Spoken
) -> None:
    (one,), (other,) = heard(faster, recording.sound), heard(openai, recording.sound)
    said, also = ([word.text.strip() for word in words(found)] for found in (one, other))
    # One rounds to 8 bits and bf16, the other does not, and the bundled model is not always sure.
    assert wrong(" ".join(also), " ".join(said)) * len(also) <= 1.01
    differences = [
        abs(left.start_s - right.start_s)
        for left, right in zip(words(one), words(other), strict=False)
        if left.text == right.text
    ]
    assert len(differences) >= 0.9 * len(said)
    assert np.median(differences) <= 0.1


@pytest.mark.filterwarnings("ignore:Word-level timestamps on translations")
@pytest.mark.parametrize("runtime", ["faster", "openai"])
def test_the_words_of_a_translation_are_whole(
    request: pytest.FixtureRequest, recording: Spoken, runtime: str
) -> None:
    """Of Chinese, engines time the tokens, and English words have several."""
    engine: SpeechEngine = request.getfixturevalue(runtime)
    options = replace(PLAIN, language="zh", task="translate", max_tokens=12)
    [segments] = heard(engine, recording.sound[: 8 * RATE_HZ], options=options)
    assert " november" in [word.text for word in words(segments)]
    assert all(word.text.startswith(" ") for word in words(segments))
    assert "".join(word.text for word in words(segments)).strip() == text_of(segments)
    assert all(word.start_s <= word.end_s for word in words(segments))


def test_a_translation_says_into_which_language(
    faster: SpeechEngine, recording: Spoken, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "speech.wav", recording.sound[None, : 3 * RATE_HZ], RATE_HZ)
    options = TranscriptionOptions(
        language="de", task="translate", beam_size=1, temperature=0.0, vad=False
    )
    transcribe(faster, Source(path, 3.0), JobContext(options, tmp_path))
    found = json.loads((tmp_path / TRANSCRIPT_FILE).read_text())
    assert found["segments"] and (found["language"], found["translated_into"]) == ("de", "en")


SPECIAL = "<|notimestamps|><|endoftext|>"


@pytest.mark.parametrize("runtime", ["faster", "openai"])
@pytest.mark.parametrize("texts", [{"initial_prompt": SPECIAL}, {"hotwords": SPECIAL}])
def test_special_tokens_in_a_text_are_text(
    request: pytest.FixtureRequest, recording: Spoken, runtime: str, texts: dict[str, Any]
) -> None:
    engine: SpeechEngine = request.getfixturevalue(runtime)
    options = replace(PLAIN, max_tokens=12, word_timestamps=False, **texts)
    [segments] = heard(engine, recording.sound[: 8 * RATE_HZ], options=options)
    assert segments and segments[0].tokens[0] >= FIRST_TIME


@pytest.mark.parametrize("runtime", ["faster", "openai"])
def test_special_tokens_in_lyrics_are_text(
    request: pytest.FixtureRequest, recording: Spoken, runtime: str
) -> None:
    engine: SpeechEngine = request.getfixturevalue(runtime)
    texts = [" song", f" {SPECIAL}", " november"]
    *_, last = engine.align(recording.sound[: 8 * RATE_HZ], texts, "en")
    assert 0.0 < last.start_s < last.end_s


class Counting:
    """CTranslate2's model, which counts the tokens that it gives, and notes those it is given."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.counts: list[int] = []
        self.prompts: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def generate(self, states: Any, prompts: list[list[int]], **settings: Any) -> Any:
        self.prompts += prompts
        found = self.model.generate(states, prompts, **settings)
        self.counts += [len(one.sequences_ids[0]) for one in found]
        return found


@pytest.fixture
def counting(faster: FasterWhisper, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """What counts the tokens of the bundled model."""
    counting = Counting(faster._model.model)
    monkeypatch.setattr(faster._model, "model", counting)
    return counting


@pytest.mark.parametrize("times", [0, 4, 300])
def test_tokens_are_bounded_as_asked(
    faster: FasterWhisper, counting: Counting, recording: Spoken, times: int
) -> None:
    """CTranslate2 counts the prompt, and only half of the rest; faster-whisper does not."""
    prompt = "red green " * times or None
    options = replace(PLAIN, max_tokens=12, word_timestamps=False, initial_prompt=prompt)
    heard(faster, recording.sound, options=options)
    assert max(counting.counts) == 12


@pytest.mark.parametrize("times", [1, 300])
def test_all_passes_of_a_window_have_the_end_of_the_prompt(
    faster: FasterWhisper, counting: Counting, recording: Spoken, times: int
) -> None:
    options = replace(PLAIN, max_tokens=4, word_timestamps=False, hotwords="yankee zulu")
    options = replace(options, initial_prompt=f"{'red green ' * times}november")
    heard(faster, np.concatenate([recording.sound, recording.sound]), options=options)
    texts = [faster._model.hf_tokenizer.decode(prompt) for prompt in counting.prompts]
    assert len(texts) >= 2
    for text in texts:
        assert text.startswith(" yankee zulu")
        assert text.endswith(" red green november")


@pytest.mark.parametrize("name", ["faster", pytest.param("openai", marks=pytest.mark.slow)])
class TestEngine:
    """What holds for each engine."""

    @pytest.fixture
    def engine(self, name: str, request: pytest.FixtureRequest) -> SpeechEngine:
        engine: SpeechEngine = request.getfixturevalue(name)
        return engine

    def test_the_recording_is_understood(self, engine: SpeechEngine, recording: Spoken) -> None:
        (segments,) = heard(engine, recording.sound)
        assert wrong(recording.text, text_of(segments)) <= MAX_WRONG, text_of(segments)

    def test_words_are_found_where_they_are_said(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        (segments,) = heard(engine, recording.sound)
        off_s = late_s(recording.words, words(segments))
        assert len(off_s) >= 0.8 * len(recording.words)
        assert np.median(off_s) <= TIME_OFF_S, sorted(off_s)

    def test_segments_and_words_are_in_order(self, engine: SpeechEngine, recording: Spoken) -> None:
        (segments,) = heard(engine, recording.sound)
        length_s = len(recording.sound) / RATE_HZ
        assert segments
        for before, after in itertools.pairwise(segments):
            assert before.start_s <= after.start_s
        for segment in segments:
            assert 0.0 <= segment.start_s <= segment.end_s <= length_s + 0.1
            assert segment.words
            assert "".join(word.text for word in segment.words).strip() == segment.text.strip()
            assert segment.average_log_probability <= 0.0
            assert 0.0 <= segment.no_speech_probability <= 1.0
            assert segment.compression_ratio > 0.0
        times = [time_s for word in words(segments) for time_s in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert all(0.0 < word.probability <= 1.0 for word in words(segments))

    def test_the_language_is_english(self, engine: SpeechEngine, recording: Spoken) -> None:
        language, probability = engine.detect_language(recording.sound)
        assert language == "en"
        assert 0.5 < probability <= 1.0

    def test_windows_together_are_as_one_by_one(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        windows = [recording.part(first, first + 2) for first in (0, 2, 4)]
        windows.insert(1, silence(3.0))
        together = heard(engine, *windows)
        assert [text_of(segments) for segments in together] == alone(engine, *windows)
        assert together[1] == []
        for window, segments in zip(windows, together, strict=True):
            for segment, single in zip(segments, heard(engine, window)[0], strict=True):
                assert segment.start_s == pytest.approx(single.start_s, abs=0.1)
                assert segment.end_s == pytest.approx(single.end_s, abs=0.1)
                assert [word.text for word in segment.words] == [w.text for w in single.words]
                assert [word.start_s for word in segment.words] == pytest.approx(
                    [word.start_s for word in single.words], abs=0.1
                )

    def test_a_window_may_be_longer_than_the_model_hears_at_once(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        twice = np.concatenate([recording.sound, silence(1.0), recording.sound])
        (segments,) = heard(engine, twice)
        assert wrong(f"{recording.text} {recording.text}", text_of(segments)) <= MAX_WRONG_ELSEWHERE
        assert segments[-1].end_s > 35.0

    @pytest.mark.parametrize("samples", [1, 160, 3200])
    def test_a_sound_that_is_too_short_for_a_word(
        self, engine: SpeechEngine, recording: Spoken, samples: int
    ) -> None:
        start = round(recording.words[0][1] * RATE_HZ)
        window = recording.sound[start : start + samples]
        found = heard(engine, window, window, options=ENGLISH)
        assert len(found) == 2
        for segments in found:
            assert len(text_of(segments).split()) <= 2

    @pytest.mark.parametrize("level", [0.0, 0.01, 0.1])
    def test_nothing_is_said_in_silence_and_noise(self, engine: SpeechEngine, level: float) -> None:
        assert heard(engine, hiss(30.0, level), options=ENGLISH) == [[]]

    def test_nothing_is_said_in_music(self, engine: SpeechEngine) -> None:
        assert heard(engine, instrumental()[0], options=ENGLISH) == [[]]

    def test_word_times_are_found_only_where_asked_for(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        plain = DecodeOptions("en", temperatures=(0.0,), word_timestamps=False)
        windows = [recording.part(0, 3), recording.part(3, 6)]
        for segments in heard(engine, windows[0], options=plain) + heard(
            engine, *windows, options=plain
        ):
            assert segments
            assert words(segments) == []

    def test_a_greedy_search_understands_too(self, engine: SpeechEngine, recording: Spoken) -> None:
        greedy = DecodeOptions("en", beam_size=1, temperatures=(0.0,))
        (segments,) = heard(engine, recording.sound, options=greedy)
        assert wrong(recording.text, text_of(segments)) <= MAX_WRONG

    def test_hints_may_be_longer_than_the_model_reads(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        """As long as the API takes them, in a script that needs several tokens a character."""
        options = DecodeOptions(
            "en", initial_prompt="春江潮水" * 250, hotwords="连海平" * 166, temperatures=(0.0,)
        )
        windows = [recording.part(0, 1), recording.part(1, 2)]
        assert len(heard(engine, *windows, options=options)) == 2
        assert len(heard(engine, windows[0], options=options)) == 1

    def test_threads_that_share_an_engine_do_not_disturb_each_other(
        self, engine: SpeechEngine, recording: Spoken
    ) -> None:
        windows = [recording.part(first, first + 1) for first in range(4)]
        asked = [*((window,) for window in windows[:3]), (windows[0], windows[3])]
        expected = [heard(engine, *some) for some in asked]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(2):
                found = list(pool.map(lambda some: heard(engine, *some), asked))
                assert found == expected

    def test_the_engine_names_itself(self, engine: SpeechEngine, name: str) -> None:
        assert engine.name == {"faster": "faster-whisper", "openai": "openai-whisper"}[name]
        precisions = (
            "int8",
            "int8 (OpenVINO)",
            "int8, encoder bf16 (OpenVINO)",
            "float16",
            "float32",
        )
        assert engine.precision in precisions
        # The vocabulary of releases before large-v3.
        assert engine.languages == EARLIER_LANGUAGES
