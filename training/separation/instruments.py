"""Plays notes with sound fonts, and drum notes with folders of recordings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.mix import RATE_HZ
from training.songs import Note, Part, Song

from .drumkits import play_kit
from .singers import sung
from .sources import Cast, Font, Kit

# tinysoundfont's own limit; a dense arrangement of layered presets reaches a hundred.
MAX_VOICES = 256

Floats = npt.NDArray[np.float32]


@functools.lru_cache(maxsize=2)
def _synth(path: Path) -> tuple[Any, int]:
    """A synthesizer with a font; a large one takes a second to load and 0.3 GB of memory."""
    import tinysoundfont

    synth = tinysoundfont.Synth(gain=-12.0, samplerate=RATE_HZ)
    return synth, synth.sfload(str(path), max_voices=MAX_VOICES)


def perform(song: Song, cast: Cast, rng: np.random.Generator) -> list[Floats]:
    """The dry stems of a song, in the order of SOURCES; float32 of shape (2, samples) each."""
    return [
        play_drums(song.drums, cast.kit, song.duration_s),
        play([song.bass], cast.bass, song.duration_s),
        play(song.other, cast.other, song.duration_s),
        sung(song, cast.singer, RATE_HZ, rng),
    ]


def play(parts: Sequence[Part], font: Font, duration_s: float) -> Floats:
    """Play melodic parts; float32 of shape (2, samples)."""
    programs = {part.channel: (0, part.program, part.pan) for part in parts}
    events = [(part.channel, note) for part in parts for note in part.notes]
    return _render(font.path, programs, events, duration_s)


def play_drums(part: Part, kit: Kit, duration_s: float) -> Floats:
    """Play a part on a drum kit; float32 of shape (2, samples)."""
    if kit.program is None:
        return play_kit(kit.path, part.notes, duration_s)
    events = [(part.channel, note) for note in part.notes]
    return _render(kit.path, {part.channel: (kit.bank, kit.program, 64)}, events, duration_s)


def _render(
    path: Path,
    programs: dict[int, tuple[int, int, int]],
    notes: Sequence[tuple[int, Note]],
    duration_s: float,
) -> Floats:
    """Play notes of channels, whose bank, program and pan are given."""
    synth, font = _synth(path)
    synth.sounds_off()
    for channel, (bank, program, pan) in programs.items():
        synth.program_select(channel, font, bank, program, bank == 128)
        synth.control_change(channel, 10, pan)
    events: list[tuple[int, int, int, int]] = []
    for channel, note in notes:
        start = round(note.start_s * RATE_HZ)
        end = max(start + 1, round((note.start_s + note.duration_s) * RATE_HZ))
        events += [(start, channel, note.pitch, note.velocity), (end, channel, note.pitch, 0)]
    samples, done = round(duration_s * RATE_HZ), 0
    pieces = []
    # At one time, notes end before others start.
    for time, channel, pitch, velocity in [*sorted(events, key=_by_time), (samples, 0, 0, 0)]:
        until = min(time, samples)
        if until > done:
            pieces.append(np.frombuffer(synth.generate(until - done), np.float32).copy())
            done = until
        if velocity:
            synth.noteon(channel, pitch, velocity)
        else:
            synth.noteoff(channel, pitch)
    audio: Floats = np.ascontiguousarray(np.concatenate(pieces).reshape(-1, 2).T)
    return audio


def _by_time(event: tuple[int, int, int, int]) -> tuple[int, bool]:
    return event[0], event[3] > 0
