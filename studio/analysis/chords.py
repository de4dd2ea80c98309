"""Chords and key together: Viterbi over chords for each key, and the key that explains them best.

Chords that depend on the key, learned from synthesised songs: Lee and Slaney, "Acoustic chord
transcription and key extraction from audio using key-dependent HMMs trained on synthesized audio",
IEEE TASLP 2008. A chord rarely changes within a bar.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from studio.analysis.frames import Floats
from studio.analysis.metre import Bars
from studio.analysis.model import CHORDS
from studio.analysis.viterbi import best_path

NO_CHORD = "N"
# How common chords are in a major and a minor key: semitones above the tonic, whether minor, share.
MAJOR_KEY = (
    (0, False, 0.28), (2, True, 0.10), (4, True, 0.08), (5, False, 0.20), (7, False, 0.22),
    (9, True, 0.12),
)  # fmt: skip
MINOR_KEY = (
    (0, True, 0.27), (3, False, 0.13), (5, True, 0.15), (7, True, 0.11), (7, False, 0.05),
    (8, False, 0.15), (10, False, 0.14),
)  # fmt: skip
# The share of all chords that are foreign to the key.
FOREIGN = 0.03
# What a change of chord costs at the downbeat, in the middle of a bar of four, and elsewhere.
AT_DOWNBEAT, AT_THIRD_OF_FOUR, ELSEWHERE = 1.5, 4.0, 6.0
# The segments of a song without beats, and what a change costs there.
GRID_S, ON_GRID = 0.5, 4.0

SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
# Major keys that are written with flats, as pitch classes: Db, Eb, F, Ab, Bb.
FLAT_KEYS = frozenset({1, 3, 5, 8, 10})


@dataclass(frozen=True)
class Chord:
    """A chord from `start_s` to `end_s`; `name` is for example Bb, F#m, or N for none."""

    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Harmony:
    """The key, for example "F# minor", and the chords.

    `confidence` is the mean probability of the likeliest chord of each segment.
    """

    key: str
    confidence: float
    chords: list[Chord]


def find_harmony(scores: Floats, costs: Floats, edges_s: Floats, is_audible: list[bool]) -> Harmony:
    """The harmony of segments between `edges_s` (segments + 1,).

    `scores` (segments, CHORDS) are log probabilities; `costs` (segments,) those of a change at the
    beginning of a segment.
    """
    same = np.arange(CHORDS)
    paths = [best_path(scores + prior, same, costs) for prior in key_priors()]
    key = int(np.argmax([total for total, _ in paths]))
    names = _names(key)
    heard = [
        names[chord] if audible else NO_CHORD
        for chord, audible in zip(paths[key][1], is_audible, strict=True)
    ]
    return Harmony(
        f"{names[key].removesuffix('m')} {'minor' if key >= 12 else 'major'}",
        float(np.exp(scores.max(axis=1)).mean()),
        _joined(heard, edges_s),
    )


def key_priors() -> Floats:
    """Log probabilities of chords in each key: (CHORDS keys by their tonic triads, CHORDS)."""
    priors = np.full((CHORDS, CHORDS), FOREIGN / CHORDS)
    for tonic in range(12):
        for key, degrees in ((tonic, MAJOR_KEY), (tonic + 12, MINOR_KEY)):
            for above, is_minor, share in degrees:
                priors[key, (tonic + above) % 12 + 12 * is_minor] += (1 - FOREIGN) * share
    log_priors: Floats = np.log(priors)
    return log_priors


def change_costs(bars: Bars, segments: int) -> Floats:
    """The costs of changes at beats; a segment more than beats lies before the first."""
    costs = np.full(segments, ELSEWHERE)
    lead = segments - len(bars.places)
    for number, place in enumerate(bars.places):
        if place == 1:
            costs[lead + number] = AT_DOWNBEAT
        elif (place, bars.beats_per_bar) == (3, 4):
            costs[lead + number] = AT_THIRD_OF_FOUR
    return costs


def _names(key: int) -> list[str]:
    """The names of all chords, as they are written in a key."""
    major = key if key < 12 else (key - 12 + 3) % 12
    roots = FLATS if major in FLAT_KEYS else SHARPS
    return [*roots, *(f"{root}m" for root in roots)]


def _joined(names: list[str], edges_s: Floats) -> list[Chord]:
    """Equal neighbours as one chord."""
    chords = []
    for name, group in groupby(range(len(names)), key=names.__getitem__):
        numbers = list(group)
        start_s, end_s = float(edges_s[numbers[0]]), float(edges_s[numbers[-1] + 1])
        chords.append(Chord(round(start_s, 3), round(end_s, 3), name))
    return chords
