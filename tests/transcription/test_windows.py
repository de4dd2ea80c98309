"""Windows of a long recording: around the voices, in order, found while the stream is read."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.windows import PIECE_S, WINDOW_S, Window, all_windows, voiced_windows
from tests.support.hearing import silence
from tests.support.sounds import SONG, decode_all

Find = Callable[[Iterable[Speech]], Iterator[Window]]
BOTH = pytest.mark.parametrize("find", [voiced_windows, all_windows])
# A busy machine is no defect; an example takes seconds.
FEW = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
SINGING_S = 17.3


def heard(name: str) -> Speech:
    sound: Speech = decode_all(SONG / f"{name}.flac", RATE_HZ, 1)[0]
    return sound


def hiss(seconds: float, level: float = 0.05) -> Speech:
    noise = np.random.default_rng(3).normal(0, level, round(seconds * RATE_HZ))
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def voice() -> Speech:
    """Eighteen seconds of a voice with pauses of less than a second."""
    return heard("vocals")


@pytest.fixture(scope="module")
def stream(voice: Speech) -> Speech:
    """Two and a half minutes: the voice four times, after pauses; once across a piece's end."""
    parts = [silence(2), voice, hiss(7, 0.01), voice, silence(3), voice[: 4 * RATE_HZ]]
    parts += [hiss(20, 0.01), voice, silence(25), voice, silence(10)]
    return np.concatenate(parts)


def blocks(sound: Speech, *sizes: int) -> Iterator[Speech]:
    """The sound in blocks of these sizes, over and over."""
    start, turn = 0, 0
    while start < len(sound):
        yield sound[start : start + sizes[turn % len(sizes)]]
        start += sizes[turn % len(sizes)]
        turn += 1


def spoken(windows: Iterable[Window]) -> list[Window]:
    return [window for window in windows if len(window.speech)]


def place(window: Window) -> tuple[int, int]:
    """Where the window lies in the stream, in samples."""
    start = round(window.start_s * RATE_HZ)
    return start, start + len(window.speech)


def seconds(windows: Iterable[Window]) -> list[tuple[float, float]]:
    return [(round(w.start_s, 1), round(w.end_s, 1)) for w in windows]


@BOTH
def test_windows_are_parts_of_the_stream_in_order(find: Find, stream: Speech) -> None:
    windows = list(find(blocks(stream, 1 << 17)))
    reached = 0
    for window in windows:
        start, end = place(window)
        assert reached <= start <= end <= len(stream)
        assert end - start <= WINDOW_S * RATE_HZ
        assert np.array_equal(window.speech, stream[start:end])
        reached = end
    assert reached == len(stream), "the last one says that all was heard"


def test_every_sound_of_a_voice_is_in_a_window(stream: Speech) -> None:
    """Tenths of a second in which the singer is loud; the stream's pauses hold at most hiss."""
    tenths = stream[: len(stream) // 1600 * 1600].reshape(-1, 1600)
    loud = np.sqrt((tenths.astype(np.float64) ** 2).mean(1)) > 0.02
    covered = np.zeros(len(stream), bool)
    for window in spoken(voiced_windows(blocks(stream, 1 << 17))):
        start, end = place(window)
        covered[start:end] = True
    inside = covered[: tenths.size].reshape(tenths.shape).all(1)
    assert loud.sum() > 400
    assert (loud & ~inside).sum() <= 0.01 * loud.sum()
    assert covered.mean() < 0.75


def test_short_pauses_stay_inside_and_long_ones_separate(voice: Speech) -> None:
    part = voice[: 8 * RATE_HZ]
    sound = np.concatenate([silence(1), part, silence(3), part, silence(8), part, silence(2)])
    found = seconds(spoken(voiced_windows([sound])))
    borders_s = [border_s for span in found for border_s in span]
    assert borders_s == pytest.approx([1.0, 20.0, 28.0, 36.0], abs=0.5)


def test_what_is_said_across_the_end_of_a_piece_is_not_cut(voice: Speech) -> None:
    before = PIECE_S - 9.0
    sound = np.concatenate([silence(before), voice, silence(30)])
    (window,) = spoken(voiced_windows(blocks(sound, 50_000)))
    assert window.start_s == pytest.approx(before, abs=0.5)
    assert window.end_s == pytest.approx(before + SINGING_S, abs=0.5)


def test_a_voice_that_never_pauses_is_cut_without_a_gap(voice: Speech) -> None:
    sound = np.tile(voice[: 2 * RATE_HZ], 60)
    windows = spoken(voiced_windows(blocks(sound, 1 << 17)))
    places = [place(window) for window in windows]
    assert all(end - start <= WINDOW_S * RATE_HZ for start, end in places)
    missed = len(sound) - sum(end - start for start, end in places)
    assert missed < 0.02 * len(sound)
    assert len(windows) <= 8


def test_a_voice_that_never_pauses_is_cut_at_quiet_places(voice: Speech) -> None:
    sound = np.tile(voice[: 16 * RATE_HZ // 10], 75)
    tenth = RATE_HZ // 10
    levels = np.sqrt((sound.reshape(-1, tenth) ** 2).mean(1))
    windows = spoken(voiced_windows(blocks(sound, 1 << 17)))
    cuts = [place(window)[0] for window in windows[1:]]
    assert len(cuts) >= 4
    for cut in cuts:
        around = sound[cut - tenth // 2 : cut + tenth // 2]
        assert np.sqrt((around**2).mean()) < np.quantile(levels, 0.2)


@BOTH
@FEW
@given(sizes=st.lists(st.integers(1_000, 3_000_000), min_size=1, max_size=8))
def test_windows_do_not_depend_on_the_blocks(find: Find, stream: Speech, sizes: list[int]) -> None:
    sound = stream[: 100 * RATE_HZ]
    whole, cut = list(find([sound])), list(find(blocks(sound, *sizes)))
    assert [place(window) for window in cut] == [place(window) for window in whole]
    assert all(np.array_equal(a.speech, b.speech) for a, b in zip(cut, whole, strict=True))


QUIET: dict[str, Callable[[], Speech]] = {
    "silence": lambda: silence(70),
    "noise": lambda: hiss(70),
    "louder noise": lambda: hiss(70, 0.1),
    "drums": lambda: heard("drums"),
    "music": lambda: heard("drums") + heard("bass") + heard("other"),
    "a tone": lambda: np.sin(np.arange(70 * RATE_HZ) / 6).astype(np.float32) * np.float32(0.5),
    "a constant": lambda: np.full(70 * RATE_HZ, 0.5, np.float32),
    "nothing": lambda: silence(0),
    "a click": lambda: np.concatenate([silence(3), np.ones(40, np.float32), silence(3)]),
}


@pytest.mark.parametrize("name", QUIET)
def test_where_nobody_speaks_there_is_no_window(name: str) -> None:
    sound = QUIET[name]()
    windows = list(voiced_windows(blocks(sound, 1 << 17)))
    assert seconds(spoken(windows)) == []
    times = [window.start_s for window in windows]
    assert times == sorted(times)
    assert times[-1] == len(sound) / RATE_HZ


def test_deafening_noise_is_hardly_ever_taken_for_a_voice() -> None:
    """At 10 dB below full scale: what is left of it, the engine's own thresholds must refuse."""
    windows = spoken(voiced_windows([hiss(120, 0.3)]))
    assert sum(window.end_s - window.start_s for window in windows) < 1.2


@BOTH
def test_a_very_short_sound(find: Find, voice: Speech) -> None:
    short = voice[RATE_HZ : RATE_HZ * 6 // 5]
    assert [place(window) for window in spoken(find([short]))] == [(0, len(short))]
    assert spoken(find([])) == []


def test_without_voice_activity_cuts_fall_into_pauses() -> None:
    """A tone with a gap of silence every five seconds: each cut lies in a gap."""
    tone = np.sin(np.arange(4 * RATE_HZ) / 6).astype(np.float32)
    sound = np.concatenate([tone, silence(1)] * 20)
    ends = [window.end_s for window in all_windows(blocks(sound, 1 << 17))]
    assert ends[-1] == 100.0
    assert all(end % 5 > 4 for end in ends[:-1])


def repeated(part: Speech, times: int, read: list[float]) -> Iterator[Speech]:
    """A long stream that is never in memory; `read` is added the seconds that were taken."""
    for _ in range(times):
        read[0] += len(part) / RATE_HZ
        yield part.copy()


@BOTH
@pytest.mark.parametrize("kind", ["a voice with pauses", "a voice without pauses", "silence"])
def test_windows_come_while_the_stream_is_read(find: Find, kind: str, voice: Speech) -> None:
    """What is held is what was read less what was given: never more than two minutes."""
    part = {
        "a voice with pauses": np.concatenate([voice, silence(8)]),
        "a voice without pauses": voice[: 2 * RATE_HZ],
        "silence": silence(20),
    }[kind]
    length_s = len(part) / RATE_HZ
    times, read = round(300 / length_s), [0.0]
    held_s = []
    for window in find(repeated(part, times, read)):
        held_s.append(read[0] - window.start_s)
    assert read[0] == pytest.approx(times * length_s)
    assert len(held_s) >= 5
    assert max(held_s) <= PIECE_S + WINDOW_S + 2 * length_s
