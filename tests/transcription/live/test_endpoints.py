"""Where utterances begin and end: by the sound alone, and without losing any of it."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.endpoints import CUT_AT_SAMPLES, CUT_FROM_SAMPLES, Endpoints, Span
from studio.transcription.voice_activity import WINDOW_SAMPLES
from tests.support.hearing import chunks, hiss, silence
from tests.support.sounds import SONG, decode_all
from tests.support.speech import Spoken, instrumental

# A busy machine is no defect; an example listens to half a minute.
FEW = settings(deadline=None, max_examples=10)


@pytest.fixture(scope="module")
def monologue(recording: Spoken) -> Speech:
    """Someone who never pauses: the five words of the first sentence, over and over."""
    start, end = (
        round(time_s * RATE_HZ) for time_s in (recording.words[0][1], recording.words[4][2])
    )
    return np.tile(recording.sound[start:end], 20)


def found(sound: Speech, *sizes: int, endpointing_ms: int = 500) -> list[Span]:
    endpoints = Endpoints(endpointing_ms)
    spans: list[Span] = []
    for chunk in chunks(sound, *sizes or (len(sound) or 1,)):
        spans += endpoints.feed(chunk)
    return [*spans, *endpoints.finish()]


def covers(spans: list[Span], recording: Spoken, from_s: float = 0.0) -> Iterator[str]:
    """The words of the recording that are not whole in one span."""
    for word, start_s, end_s in recording.words:
        start, end = (round((time_s + from_s) * RATE_HZ) for time_s in (start_s, end_s))
        if not any(span.start <= start and end <= span.end + 1600 for span in spans):
            yield word


def test_every_word_is_in_an_utterance(recording: Spoken) -> None:
    spans = found(recording.sound)
    assert len(spans) == len(recording.sentences)
    assert list(covers(spans, recording)) == []
    for one, other in pairwise(spans):
        assert one.end <= other.start
    assert spans[-1].end <= len(recording.sound)


@FEW
@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=10).filter(lambda s: sum(s) > 500)
)
def test_chunks_make_no_difference(recording: Spoken, sizes: list[int]) -> None:
    sound = np.concatenate([recording.sound[: 8 * RATE_HZ], hiss(2.0)])
    assert found(sound, *sizes) == found(sound)


@pytest.mark.parametrize("size", [1, 160, WINDOW_SAMPLES - 1, WINDOW_SAMPLES, WINDOW_SAMPLES + 1])
def test_chunks_of_odd_sizes_make_no_difference(recording: Spoken, size: int) -> None:
    sound = recording.sound[: round(1.5 * RATE_HZ)]
    assert found(sound, size) == found(sound) != []


@FEW
@given(from_s=st.floats(0, 3), level=st.floats(0.3, 1.0))
def test_words_are_found_wherever_they_begin(
    recording: Spoken, from_s: float, level: float
) -> None:
    samples = round(from_s * RATE_HZ)
    sound = np.concatenate([np.zeros(samples, np.float32), np.float32(level) * recording.sound])
    assert list(covers(found(sound), recording, samples / RATE_HZ)) == []


QUIET: dict[str, Callable[[], Speech]] = {
    "nothing": lambda: silence(0),
    "silence": lambda: silence(30),
    "noise": lambda: hiss(30, 0.05),
    "loud noise": lambda: hiss(30, 0.1),
    "drums": lambda: decode_all(SONG / "drums.flac", RATE_HZ, 1)[0],
    "music": lambda: instrumental()[0],
    "a tone": lambda: np.sin(np.arange(20 * RATE_HZ) / 6).astype(np.float32) * np.float32(0.5),
    "a constant": lambda: np.full(20 * RATE_HZ, 0.5, np.float32),
    "clicks": lambda: np.tile(np.append(silence(0.99), np.ones(160, np.float32)), 20),
}


@pytest.mark.parametrize("name", QUIET)
def test_where_nobody_speaks_there_is_no_utterance(name: str) -> None:
    assert found(QUIET[name](), 8000) == []


def test_deafening_noise_is_hardly_ever_taken_for_a_voice() -> None:
    """At 10 dB below full scale: what is left of it, the engine's own thresholds must refuse."""
    assert sum(span.seconds for span in found(hiss(60, 0.3))) < 1.2


def test_a_very_long_utterance_is_cut_without_losing_a_sample(monologue: Speech) -> None:
    spans = found(monologue, 4000)
    assert len(spans) >= 2
    for span in spans[:-1]:
        assert CUT_FROM_SAMPLES <= span.end - span.start <= CUT_AT_SAMPLES
    for one, other in pairwise(spans):
        assert one.end == other.start


def test_a_cut_falls_into_a_quiet_place(monologue: Speech) -> None:
    """A tenth of a second of near silence in the voice, sixteen to nineteen seconds on."""
    first = found(monologue, 4000)[0]
    for gap_s in (16.0, 17.5, 19.0):
        sound = monologue.copy()
        start = first.start + round(gap_s * RATE_HZ)
        sound[start : start + 2400] *= 0.001
        cut = found(sound, 4000)[0].end
        assert start <= cut <= start + 2400


@pytest.mark.parametrize("silent_s", [0.02, 0.1, 0.2, 0.3, 0.5])
def test_a_pause_at_the_cut_leaves_no_empty_utterance(monologue: Speech, silent_s: float) -> None:
    """The voice ends shortly before the longest length: silence alone is not decoded."""
    first = found(monologue, 4000)[0]
    end = first.start + CUT_AT_SAMPLES - round(silent_s * RATE_HZ)
    sound = np.concatenate([monologue[:end], silence(3)])
    spans = found(sound, 4000)
    assert [span.start for span in spans][:1] == [first.start]
    assert all(0 < span.end - span.start <= CUT_AT_SAMPLES for span in spans)
    assert sum(span.end - span.start for span in spans) >= end - first.start - 1600
    assert len(spans) == 1 or spans[1].start < end


@pytest.mark.parametrize("endpointing_ms", [500, 2000, 5000])
def test_silence_of_the_endpointing_time_ends_an_utterance(
    recording: Spoken, endpointing_ms: int
) -> None:
    """The word at the end of a sentence fades: a fifth of a second is between."""
    word = recording.part(0, 1)[: round(recording.words[4][2] * RATE_HZ)]
    silent = silence(endpointing_ms / 1000)
    short, long = silent[: max(0, len(silent) - 8000)], np.append(silent, silence(0.5))
    assert len(found(np.concatenate([word, short, word]), endpointing_ms=endpointing_ms)) == 1
    assert len(found(np.concatenate([word, long, word]), endpointing_ms=endpointing_ms)) == 2


def test_an_utterance_ends_with_the_stream(recording: Spoken) -> None:
    """In the middle of a word, with no silence after it."""
    word, start_s, end_s = recording.words[3]
    sound = recording.sound[: round((start_s + end_s) / 2 * RATE_HZ)]
    (span,) = found(sound, 1000)
    assert span.end == len(sound), word


@pytest.mark.parametrize("number", range(5, 30, 4))
def test_a_single_short_word_is_an_utterance(recording: Spoken, number: int) -> None:
    _, start_s, end_s = recording.words[number]
    word = recording.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    (span,) = found(word, 1000)
    assert span.end == len(word)


def test_flushed_speech_is_not_heard_again(recording: Spoken) -> None:
    """An utterance that is flushed in its middle goes on as another one, next to it."""
    endpoints = Endpoints(500)
    middle = round(2.0 * RATE_HZ) + 100
    spans = list(endpoints.feed(recording.sound[:middle]))
    spans += endpoints.flush()
    assert endpoints.voice_from is None
    assert list(endpoints.flush()) == []
    spans += endpoints.feed(recording.sound[middle:])
    spans += endpoints.finish()
    assert spans[0].end == middle == spans[1].start
    assert len(spans) == len(recording.sentences) + 1


@FEW
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=5).filter(lambda s: sum(s) > 99))
def test_what_may_still_be_needed_is_known(recording: Spoken, sizes: list[int]) -> None:
    """No utterance begins before what the stream said that it needs."""
    endpoints = Endpoints(500)
    needed = 0
    for chunk in chunks(recording.sound[: 8 * RATE_HZ], *sizes):
        for span in endpoints.feed(chunk):
            assert span.start >= needed
        assert endpoints.needed_from >= needed
        needed = endpoints.needed_from
        assert endpoints.position - needed <= CUT_AT_SAMPLES
    assert all(span.start >= needed for span in endpoints.finish())
