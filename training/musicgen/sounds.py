"""Plays pieces. Each note is rendered once and then placed, exactly on the codec's frames.

Run it as `python -m training.musicgen.sounds` to render the notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from studio.audio.replacing import replacing

from ..mix import RATE_HZ as RENDER_RATE_HZ
from ..render import DATA, play
from ..songs import DRUM_CHANNEL, Note, Part
from .pieces import (
    DRUM_KIT,
    DRUM_LENGTH_S,
    FRAME_RATE_HZ,
    HAT,
    KICK,
    LOWEST_PITCH,
    PROGRAMS,
    SNARE,
    VELOCITY,
    Piece,
    note_length_s,
)

RATE_HZ = 32000
FRAME_SAMPLES = RATE_HZ // FRAME_RATE_HZ
SOUNDS_FILE = DATA / "musicgen" / "sounds.npz"
_SPACING_S = 3.0
_TAIL_S = 0.15
_FADE_S = 0.04
_LOUDNESS_OVER_S = 0.25
_TONAL_RMS = 0.12
_DRUM_PEAK = {KICK: 0.5, SNARE: 0.4, HAT: 0.2}

Floats = npt.NDArray[np.float32]


class Key(NamedTuple):
    """What makes a note sound as it does."""

    program: int
    is_drum: bool
    pitch: int
    length_s: float

    @property
    def name(self) -> str:
        return f"{self.program}-{int(self.is_drum)}-{self.pitch}-{round(self.length_s * 1000)}"


def _keys() -> Iterator[list[Key]]:
    """All notes that pieces can hold, grouped into what is played in one go."""
    for program in PROGRAMS.values():
        for tempo in ("slow", "medium", "fast"):
            length_s = note_length_s(tempo)
            yield [
                Key(program, False, low + step, length_s)
                for low in LOWEST_PITCH.values()
                for step in range(12)
            ]
    yield [Key(DRUM_KIT, True, pitch, DRUM_LENGTH_S) for pitch in (KICK, SNARE, HAT)]


def _play(keys: list[Key]) -> Iterator[Floats]:
    """Each note by itself: float32 (samples,) at RATE_HZ, balanced, faded out."""
    notes = [
        Note(place * _SPACING_S, key.length_s, key.pitch, VELOCITY)
        for place, key in enumerate(keys)
    ]
    part = Part(keys[0].program, DRUM_CHANNEL if keys[0].is_drum else 0, 64, notes)
    stereo = play([part], len(keys) * _SPACING_S, room=0.0)
    mono = resample_poly(stereo.mean(0), RATE_HZ, RENDER_RATE_HZ).astype(np.float32)
    fade = np.linspace(1.0, 0.0, round(_FADE_S * RATE_HZ), dtype=np.float32)
    for place, key in enumerate(keys):
        start = round(place * _SPACING_S * RATE_HZ)
        note = mono[start : start + round((key.length_s + _TAIL_S) * RATE_HZ)].copy()
        note[-len(fade) :] *= fade
        if key.is_drum:
            gain = _DRUM_PEAK[key.pitch] / np.abs(note).max()
        else:
            loud = note[: round(_LOUDNESS_OVER_S * RATE_HZ)].astype(np.float64)
            gain = _TONAL_RMS / np.sqrt((loud**2).mean())
        yield note * np.float32(gain)


def render_sounds() -> None:
    """Render every note, unless that was done."""
    if SOUNDS_FILE.exists():
        return
    sounds = {
        key.name: np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
        for keys in _keys()
        for key, sound in zip(keys, _play(keys), strict=True)
    }
    with replacing(SOUNDS_FILE) as new, new.open("wb") as file:
        np.savez(file, allow_pickle=False, **sounds)


class Player:
    """Plays pieces with the rendered notes."""

    def __init__(self) -> None:
        with np.load(SOUNDS_FILE) as stored:
            self._sounds = {
                name: stored[name].astype(np.float32) / np.float32(32767) for name in stored.files
            }

    def perform(self, piece: Piece) -> Floats:
        """The sound of a piece: float32 (frames * FRAME_SAMPLES,) at RATE_HZ, within +-1."""
        audio = np.zeros(piece.frames * FRAME_SAMPLES, np.float32)
        for part in piece.parts:
            is_drum = part.channel == DRUM_CHANNEL
            for note in part.notes:
                key = Key(part.program, is_drum, note.pitch, note.duration_s)
                start = round(note.start_s * FRAME_RATE_HZ) * FRAME_SAMPLES
                sound = self._sounds[key.name][: len(audio) - start]
                audio[start : start + len(sound)] += sound
        return np.clip(audio, -1.0, 1.0)


if __name__ == "__main__":
    render_sounds()
