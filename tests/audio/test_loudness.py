"""Loudness is what ITU-R BS.1770 says, at any rate and however the sound is cut into blocks."""

import itertools

import numpy as np
import pytest

from studio.audio.loudness import integrated_lufs
from studio.generation.chroma import HOP, RATE_HZ, WINDOW, from_second, melody
from tests.support.sounds import Sound, tone


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(rate_hz: int) -> None:
    sine = 2 * tone(5.0, 997.0, rate_hz)[None]
    assert integrated_lufs([sine], rate_hz) == pytest.approx(-3.01, abs=0.05)
    assert integrated_lufs([np.repeat(sine, 2, 0)], rate_hz) == pytest.approx(0.0, abs=0.05)
    assert integrated_lufs([sine * np.float32(0.1)], rate_hz) == pytest.approx(-23.01, abs=0.05)


def test_low_tones_count_less_and_high_ones_more() -> None:
    low, middle, high = (
        integrated_lufs([tone(3.0, hz, 48_000)[None]], 48_000) for hz in (40.0, 1000.0, 5000.0)
    )
    assert low is not None and middle is not None and high is not None
    assert low < middle - 3
    assert high > middle + 3


def test_blocks_and_silence_do_not_matter() -> None:
    sine = tone(4.0, 997.0, 32_000)[None]
    whole = integrated_lufs([sine], 32_000)
    assert whole is not None
    cuts = [0, 5, 1000, 40_000, sine.shape[1]]
    blocks = [sine[:, a:b] for a, b in itertools.pairwise(cuts)]
    assert integrated_lufs(blocks, 32_000) == pytest.approx(whole, abs=1e-6)
    silence = np.zeros((1, 32_000 * 4), np.float32)
    assert integrated_lufs([sine, silence], 32_000) == pytest.approx(whole, abs=0.3)
    assert integrated_lufs([silence], 32_000) is None
    assert integrated_lufs([sine[:, :1000]], 32_000) is None


def pitch_classes(*frequencies_hz: float) -> Sound:
    sound = np.concatenate([tone(2.0, hz, RATE_HZ) for hz in frequencies_hz])[None]
    return melody(iter([sound[:, :30_000], sound[:, 30_000:]]))


def test_a_melody_is_one_pitch_class_a_frame() -> None:
    found = pitch_classes(261.63, 440.0)
    assert found.shape == (12, 4 * RATE_HZ // 4096 + 1)
    assert (found.sum(axis=0) == 1).all()
    classes = found.argmax(axis=0)
    assert set(classes[1:13].tolist()) == {0}, "C"
    assert set(classes[19:30].tolist()) == {9}, "A"
    assert np.array_equal(found, pitch_classes(523.25, 220.0)), "in any octave"


def test_a_later_window_hears_the_melody_from_there_on() -> None:
    found = pitch_classes(261.63, 440.0)
    later = from_second(found, 2.048)
    assert np.array_equal(later, np.roll(found, -16, axis=1))
    assert np.array_equal(from_second(found, found.shape[1] * 4096 / RATE_HZ), found)


@pytest.mark.parametrize("duration_s", [0.6, 30.0])
@pytest.mark.parametrize("block", [5_000, 1 << 17])
def test_a_melody_is_that_of_the_whole_sound_at_once(duration_s: float, block: int) -> None:
    torch = pytest.importorskip("torch")
    audio_utils = pytest.importorskip("transformers.audio_utils")
    samples = round(duration_s * RATE_HZ)
    sound = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
    found = melody(sound[:, start : start + block] for start in range(0, samples, block))
    spectrum = torch.stft(
        torch.from_numpy(sound[0]),
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        return_complex=True,
    )
    filters = audio_utils.chroma_filter_bank(WINDOW, 12, RATE_HZ, tuning=0)
    expected = (torch.from_numpy(filters).float() @ spectrum.abs() ** 2).argmax(0).numpy()
    assert len(set(expected.tolist())) > 2
    assert np.array_equal(found.argmax(axis=0), expected)


def test_a_long_melody_is_used_to_its_end() -> None:
    blocks = [tone(160.0, hz, RATE_HZ)[None] for hz in (261.63, 440.0)]
    later = from_second(melody(blocks), 310.0)
    assert set(later.argmax(axis=0)[:70].tolist()) == {9}, "A"


def test_a_short_sound_has_a_melody_too() -> None:
    assert melody(iter([tone(0.1, 440.0, RATE_HZ)[None]])).argmax(axis=0).tolist()[2] == 9
