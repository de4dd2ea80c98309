"""Annotations of generated songs: tempo, beats, key and chords."""

from __future__ import annotations

from dataclasses import dataclass

from .songs import Harmony, Song

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
NOT_RATED = "X"
"""The chord of bars in which no instrument plays one."""
STEPS_PER_BEAT = 4

Chord = tuple[float, float, str]
"""Start and end in seconds, and the label in the syntax of Harte et al. (ISMIR 2005): `C#:min`."""


@dataclass(frozen=True)
class Annotation:
    """The truth about a song. Times are in seconds; `key` is a label like `C# minor`."""

    tempo_bpm: float
    beats_s: tuple[float, ...]
    downbeats_s: tuple[float, ...]
    key: str
    chords: tuple[Chord, ...]


def annotate(song: Song) -> Annotation:
    """The annotation of a song, up to its end."""
    harmony = song.harmony
    beat_s = 60.0 / song.tempo_bpm
    beats_per_bar = harmony.steps // STEPS_PER_BEAT
    bar_s = beat_s * beats_per_bar
    beats = [
        number * beat_s
        for number in range(len(harmony.degrees) * beats_per_bar)
        if number * beat_s < song.duration_s
    ]
    chords = [
        (bar * bar_s, min((bar + 1) * bar_s, song.duration_s), _chord(harmony, bar))
        for bar in range(len(harmony.degrees))
        if bar * bar_s < song.duration_s
    ]
    mode = "major" if _third(harmony, 0) == 4 else "minor"
    return Annotation(
        song.tempo_bpm,
        tuple(beats),
        tuple(beats[::beats_per_bar]),
        f"{PITCH_CLASSES[harmony.root]} {mode}",
        tuple(chords),
    )


def _interval(harmony: Harmony, degree: int, steps: int) -> int:
    """Semitones from a degree of the scale to one some steps above it."""
    scale = harmony.scale
    return (scale[(degree + steps) % 7] - scale[degree % 7]) % 12


def _third(harmony: Harmony, degree: int) -> int:
    return _interval(harmony, degree, 2)


def _chord(harmony: Harmony, bar: int) -> str:
    """The triad of a bar."""
    if not harmony.sounding[bar]:
        return NOT_RATED
    degree = harmony.degrees[bar]
    root = PITCH_CLASSES[(harmony.root + harmony.scale[degree % 7]) % 12]
    quality = "maj" if _third(harmony, degree) == 4 else "min"
    if _interval(harmony, degree, 4) == 6:
        quality = "dim"
    return f"{root}:{quality}"
