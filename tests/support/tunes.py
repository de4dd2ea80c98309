"""Songs whose tempo, beats, chords and key are known: the scores of `training/`, played simply.

Notes are sums of harmonics, drums are noise; nothing needs a synthesiser or a soundfont. `melody`
is that of the bundled song.
"""

import functools

import numpy as np

from tests.support.sounds import RATE_HZ, Sound
from training.annotations import Annotation, annotate
from training.sample import DURATION_S, SONG_SEED
from training.songs import Note, Part, make_song

HARMONICS = 6
KICKS = (35, 36)


@functools.cache
def tune(seed: int, duration_s: float = 24.0) -> tuple[Annotation, Sound]:
    """What a held-out song is, and its sound float32 (2, samples) at RATE_HZ, without a voice."""
    song = make_song(seed, held_out=True, duration_s=duration_s)
    sound = np.zeros(round(duration_s * RATE_HZ), np.float32)
    for part in [song.bass, *song.other]:
        _play(part, sound)
    _drum(song.drums, sound, np.random.default_rng(seed))
    return annotate(song), np.repeat(0.5 * sound[None] / np.abs(sound).max(), 2, axis=0)


def melody() -> list[Note]:
    """What is sung in the bundled song."""
    notes = make_song(SONG_SEED, held_out=True).melody.notes
    return [note for note in notes if note.start_s + note.duration_s < DURATION_S]


def _play(part: Part, sound: Sound) -> None:
    for note in part.notes:
        times_s = np.arange(round((note.duration_s + 0.1) * RATE_HZ)) / RATE_HZ
        hz = 440 * 2 ** ((note.pitch - 69) / 12)
        wave = sum(
            0.6**number * np.sin(2 * np.pi * hz * number * times_s)
            for number in range(1, HARMONICS + 1)
        )
        envelope = np.minimum(1, times_s / 0.005) * np.exp(-1.5 * times_s)
        envelope *= np.clip((note.duration_s + 0.1 - times_s) / 0.1, 0, 1)
        _add(sound, note.start_s, 0.1 * note.velocity / 127 * wave * envelope)


def _drum(part: Part, sound: Sound, rng: np.random.Generator) -> None:
    for note in part.notes:
        times_s = np.arange(round(0.15 * RATE_HZ)) / RATE_HZ
        if note.pitch in KICKS:
            hit = np.sin(2 * np.pi * 55 * times_s) * np.exp(-20 * times_s)
        else:
            hit = 0.3 * rng.normal(size=len(times_s)) * np.exp(-50 * times_s)
        _add(sound, note.start_s, 0.5 * note.velocity / 127 * hit)


def _add(sound: Sound, start_s: float, wave: np.ndarray) -> None:
    start = round(start_s * RATE_HZ)
    room = len(sound) - start
    if room > 0:
        sound[start : start + len(wave)] += wave[:room].astype(np.float32)
