"""Singers whose words are stretches of recorded speech, moved onto notes by WORLD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

from scripts import voices
from training.mix import RATE_HZ
from training.songs import Song
from training.voices import SPEECH_RATE_HZ, Word, sing, take_apart

from .sources import Singer

WORDS = 12
WORD_S = (0.25, 0.6)
PROMPT_RATE_HZ = 16000
MIN_VOICED = 0.6


def sung(
    song: Song, singer: Singer, rate_hz: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The melody of a song; float32 of shape (2, samples), not normalised."""
    return sing(song, rate_hz, _words(singer.language, rng) if singer.language else None)


def spoken(singer: Singer, duration_s: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A person's prompts with pauses, as recorded; float32 of shape (2, samples) at RATE_HZ."""
    samples = round(duration_s * RATE_HZ)
    line = np.zeros(samples, np.float32)
    prompts = voices.prompts(singer.language)
    at = 0
    while at < samples:
        speech, rate_hz = _read(prompts[rng.integers(len(prompts))].path)
        wide = resample_poly(speech, RATE_HZ // 100, rate_hz // 100)[: samples - at]
        line[at : at + len(wide)] = wide
        at += len(wide) + round(float(rng.uniform(0.1, 1.5)) * RATE_HZ)
    return np.stack([line, line])


def _read(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    speech, rate_hz = soundfile.read(path, dtype="float64")
    if rate_hz != PROMPT_RATE_HZ:
        raise ValueError(f"{path.name} has {rate_hz} Hz, not {PROMPT_RATE_HZ} Hz")
    return speech, rate_hz


def _words(language: str, rng: np.random.Generator) -> list[Word]:
    """Stretches of a person's speech in which the voice sounds most of the time."""
    words: list[Word] = []
    prompts = voices.prompts(language)
    while len(words) < WORDS:
        prompt = prompts[rng.integers(len(prompts))]
        speech, rate_hz = _read(prompt.path)
        length_s = float(rng.uniform(*WORD_S))
        start = int(rng.integers(len(speech) - int(length_s * rate_hz)))
        cut = speech[start : start + int(length_s * rate_hz)]
        wide = resample_poly(cut, SPEECH_RATE_HZ // 50, PROMPT_RATE_HZ // 50)
        word = take_apart(np.ascontiguousarray(wide / max(np.abs(wide).max(), 1e-3)))
        if word.voiced.mean() >= MIN_VOICED:
            words.append(word)
    return words
