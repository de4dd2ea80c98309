"""The recordings of the evaluation: held-out voices, sentences, songs; and nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import sound
from .scene import Floats, Scene
from .speech import RATE_HZ
from .windows import Mixture, Windows
from .words import VOCABULARY

COUNTS = {
    "single, clean": 80,
    "single, disturbed": 80,
    "window, clean": 12,
    "window, disturbed": 12,
    "nothing": 60,
    "sung": 16,
}
_DISTURBANCES = ("noise", "room", "music", "noise in a room")


@dataclass
class Recording:
    """What is heard, and the words (text, start_s) that are in it."""

    group: str
    audio: Floats
    words: list[tuple[str, float]]


def recordings(part: float = 1.0) -> list[Recording]:
    """All recordings of the evaluation, or the first part of every group."""
    windows = Windows([16], held_out=True)
    makers: dict[str, Callable[[int], Recording]] = {
        "single, clean": lambda place: _single(windows, place, disturbed=False),
        "single, disturbed": lambda place: _single(windows, place, disturbed=True),
        "window, clean": lambda place: _window(windows, place, disturbed=False),
        "window, disturbed": lambda place: _window(windows, place, disturbed=True),
        "nothing": lambda _: _recording(windows.silent(30.0)),
        "sung": lambda place: _sung(windows, place),
    }
    result = []
    for group, make in makers.items():
        for place in range(max(1, round(part * COUNTS[group]))):
            recording = make(place)
            recording.group = group
            result.append(recording)
    return result


def disturb(windows: Windows, audio: Floats, place: int) -> Floats:
    """Add one of the four disturbances, in turn."""
    rng, kind = windows.rng, _DISTURBANCES[place % len(_DISTURBANCES)]
    if "room" in kind:
        audio = sound.reverberate(audio, rng)
    if "noise" in kind:
        audio = sound.add(audio, sound.noise(rng, len(audio)), float(rng.uniform(10, 25)))
    if "music" in kind:
        audio = sound.add(audio, windows.music(len(audio)), float(rng.uniform(10, 25)))
    return audio


def _recording(scene: Scene) -> Recording:
    audio = scene.audio
    if scene.end_s is not None:
        audio = audio[: round(scene.end_s * RATE_HZ)]
    words = [
        (VOCABULARY[int(word)], float(start_s))
        for sentence in scene.sentences
        for word, start_s, _ in sentence
    ]
    return Recording("", audio, words)


def _single(windows: Windows, place: int, disturbed: bool) -> Recording:
    shift = COUNTS["single, clean"] if disturbed else 0
    utterance = windows.utterances[(place + shift) % len(windows.utterances)]
    lead_s, tail_s = windows.rng.uniform(0.1, 1.0, 2)
    speech: Floats = np.asarray(utterance.samples, np.float32) * np.float32(1 / 32768)
    audio = np.pad(speech, (round(lead_s * RATE_HZ), round(tail_s * RATE_HZ)))
    if disturbed:
        audio = disturb(windows, audio, place)
    words = [
        (VOCABULARY[int(word)], float(start_s + lead_s)) for word, start_s, _ in utterance.words
    ]
    return Recording("", audio.astype(np.float32), words)


def _window(windows: Windows, place: int, disturbed: bool) -> Recording:
    recording = _recording(windows.spoken(Mixture(30.0, clean=1.0)))
    if disturbed:
        recording.audio = disturb(windows, recording.audio, place).astype(np.float32)
    return recording


def _sung(windows: Windows, place: int) -> Recording:
    song = windows.songs[place % len(windows.songs)]
    words = [
        (VOCABULARY[int(word)], float(start_s)) for line in song.lines for word, start_s, _ in line
    ]
    return Recording("", np.asarray(song.vocals, np.float32) * np.float32(1 / 32768), words)
