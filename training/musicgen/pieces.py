"""Writes pieces as notes: broken chords in C, one note on every beat, and drums on the beat.

Everything falls on the frames of the audio codec, 50 a second, so that the same note always gives
the same codes. That is what makes the music learnable by a tiny model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..songs import DRUM_CHANNEL, Note, Part
from .prompts import Combination

FRAME_RATE_HZ = 50
BEAT_FRAMES = {"slow": 50, "medium": 30, "fast": 19}
LOWEST_PITCH = {"low": 36, "middle": 60, "high": 84}
PROGRAMS = {"piano": 0, "organ": 20, "guitar": 25, "synth": 81}
KICK, SNARE, HAT = 36, 38, 42
DRUM_KIT = 0
DRUM_LENGTH_S = 0.15
VELOCITY = 100
HELD_PART = 0.8  # of a beat

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_PROGRESSIONS = ((0, 3, 4, 0), (0, 4, 3, 0))
# For each beat of a bar, the tone of the triad (0 root, 1 third, 2 fifth) that sounds.
_FIGURES = ((0, 1, 2, 1), (0, 2, 1, 2))
_BEATS_PER_BAR = 4


@dataclass(frozen=True)
class Piece:
    """The notes of a few seconds of music; drums, if any, are the second part."""

    combination: Combination
    beat_frames: int
    frames: int
    parts: tuple[Part, ...]


def note_length_s(tempo: str) -> float:
    """How long a key is held."""
    return HELD_PART * BEAT_FRAMES[tempo] / FRAME_RATE_HZ


def write_piece(combination: Combination, rng: np.random.Generator, frames: int) -> Piece:
    """Draw a piece of a combination."""
    beat_frames = BEAT_FRAMES[combination.tempo]
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    figure = _FIGURES[rng.integers(len(_FIGURES))]
    scale = _SCALES[combination.mood]
    low = LOWEST_PITCH[combination.register]
    length_s = note_length_s(combination.tempo)
    tonal = Part(PROGRAMS[combination.family], 0, 64)
    drums = Part(DRUM_KIT, DRUM_CHANNEL, 64)
    for beat, frame in enumerate(range(0, frames, beat_frames)):
        start_s = frame / FRAME_RATE_HZ
        bar, place = divmod(beat, _BEATS_PER_BAR)
        degree = progression[bar % len(progression)]
        pitch_class = scale[(degree + 2 * figure[place]) % 7]
        tonal.notes.append(Note(start_s, length_s, low + pitch_class, VELOCITY))
        for drum in (HAT, SNARE if place % 2 else KICK):
            drums.notes.append(Note(start_s, DRUM_LENGTH_S, drum, VELOCITY))
    parts = (tonal, drums) if combination.drums else (tonal,)
    return Piece(combination, beat_frames, frames, parts)
