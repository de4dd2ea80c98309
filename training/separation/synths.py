"""Synthesizers whose sounds are drawn at random: for notes, and a machine for drums.

Sound fonts hold few basses and leads. A patch here has two oscillators, half of the time with
frequency modulation (Chowning 1973), as in the sound chips of early computers, and a low-pass
filter, as in analogue synthesizers. Most basses with frequency modulation have no filter, as in
those chips: their harmonics, and not their fundamental, can carry most of the sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from training.mix import RATE_HZ
from training.songs import Note

Floats = npt.NDArray[np.floating[Any]]

CARRIERS = {True: (0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0), False: (1.0,)}
"""Frequencies of oscillators, as multiples of the pitch, by whether they play a bass."""
RATIOS = (0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 7.0, 1.41)
WAVES: tuple[Callable[[Floats], Floats], ...] = (
    np.sin,
    lambda phase: np.maximum(np.sin(phase), 0.0),
    lambda phase: np.abs(np.sin(phase)),
    lambda phase: np.sign(np.sin(phase)),
    lambda phase: (phase / np.pi) % 2.0 - 1.0,
    lambda phase: 2.0 * np.abs((phase / np.pi) % 2.0 - 1.0) - 1.0,
)
FADE_S = 0.004
UNFILTERED = 0.6


@dataclass(frozen=True)
class Patch:
    """One sound. `index` 0 means no modulation; a filter closes to `cutoff` times the pitch.

    `carriers` are the frequencies of the two oscillators over the pitch, `ratio` that of their
    modulator over theirs. `waves` and `modulator` are places in `WAVES`.
    """

    waves: tuple[int, int]
    carriers: tuple[float, float]
    modulator: int
    detune: float
    ratio: float
    index: float
    index_decay_s: float
    cutoff: float
    filter_decay_s: float
    attack_s: float
    decay_s: float
    sustain: float
    release_s: float
    spread: float


def draw_patch(rng: np.random.Generator, bass: bool) -> Patch:
    """A random patch; those for basses are mono."""
    modulated = rng.random() < (0.65 if bass else 0.5)
    filtered = not (bass and modulated and rng.random() < UNFILTERED)
    return Patch(
        waves=(int(rng.integers(len(WAVES))), int(rng.integers(len(WAVES)))),
        carriers=(float(rng.choice(CARRIERS[bass])), float(rng.choice(CARRIERS[bass]))),
        modulator=int(rng.integers(len(WAVES))) if rng.random() < 0.5 else 0,
        detune=float(rng.uniform(0.0, 0.012)) * float(rng.random() < 0.5),
        ratio=float(rng.choice(RATIOS)),
        index=float(rng.uniform(0.3, 5.0)) if modulated else 0.0,
        index_decay_s=float(np.exp(rng.uniform(np.log(0.03), np.log(2.0)))),
        cutoff=float(np.exp(rng.uniform(np.log(1.5), np.log(12.0 if bass else 20.0))))
        if filtered
        else math.inf,
        filter_decay_s=float(np.exp(rng.uniform(np.log(0.05), np.log(1.5)))),
        attack_s=float(np.exp(rng.uniform(np.log(0.002), np.log(0.02 if bass else 0.2)))),
        decay_s=float(np.exp(rng.uniform(np.log(0.1), np.log(2.0)))),
        sustain=float(rng.uniform(0.0, 1.0)),
        release_s=float(rng.uniform(0.02, 0.1 if bass else 0.4)),
        spread=0.0 if bass else float(rng.uniform(0.0, 1.0)),
    )


def play(
    parts: Sequence[Sequence[Note]], patches: Sequence[Patch], duration_s: float
) -> npt.NDArray[np.float32]:
    """Play the notes of each part with its patch; float32 of shape (2, samples)."""
    samples = round(duration_s * RATE_HZ)
    mix = np.zeros((2, samples), np.float32)
    for notes, patch in zip(parts, patches, strict=True):
        for note in notes:
            start = round(note.start_s * RATE_HZ)
            if start < samples:
                sound = _note(note, patch)[:, : samples - start]
                mix[:, start : start + sound.shape[1]] += sound
    return mix


def _note(note: Note, patch: Patch) -> Floats:
    pitch_hz = 440.0 * 2 ** ((note.pitch - 69) / 12)
    times_s = np.arange(round((note.duration_s + patch.release_s) * RATE_HZ) + 1) / RATE_HZ
    envelope = _envelope(times_s, note.duration_s, patch) * (note.velocity / 127) ** 1.5 * 0.2
    voices = []
    detunes = (-patch.detune, patch.detune)
    for wave, carrier, detune in zip(patch.waves, patch.carriers, detunes, strict=True):
        phase = 2 * np.pi * pitch_hz * carrier * 2**detune * times_s
        if patch.index:
            depth = patch.index * np.exp(-times_s / patch.index_decay_s)
            phase = phase + depth * WAVES[patch.modulator](phase * patch.ratio)
        voices.append(_filtered(WAVES[wave](phase), times_s, pitch_hz, patch) * envelope)
    left, right = voices
    near, far = 1.0 - patch.spread / 2, patch.spread / 2
    return np.stack([near * left + far * right, far * left + near * right]).astype(np.float32)


def _envelope(times_s: Floats, held_s: float, patch: Patch) -> Floats:
    """Attack, decay to the sustained level, release."""
    rise = np.minimum(1.0, times_s / patch.attack_s)
    fall = patch.sustain + (1.0 - patch.sustain) * np.exp(-times_s / patch.decay_s)
    left = np.clip((held_s + patch.release_s - times_s) / patch.release_s, 0.0, 1.0)
    held: Floats = rise * fall * left
    return held


def _filtered(wave: Floats, times_s: Floats, pitch_hz: float, patch: Patch) -> Floats:
    """A low-pass filter that closes: the unfiltered sound fades into the filtered one."""
    cutoff_hz = min(pitch_hz * patch.cutoff, 0.45 * RATE_HZ)
    dull = sosfilt(butter(2, cutoff_hz, fs=RATE_HZ, output="sos"), wave)
    opened = 0.7 * np.exp(-times_s / patch.filter_decay_s)
    faded: Floats = dull + opened * (wave - dull)
    return faded


def play_drums(
    notes: Sequence[Note], duration_s: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Play notes of a drum channel on a machine with random settings; (2, samples)."""
    samples = round(duration_s * RATE_HZ)
    mix = np.zeros((2, samples), np.float32)
    hits: dict[int, Floats] = {}
    for note in sorted(notes, key=lambda one: one.start_s):
        if note.pitch not in hits:
            hits[note.pitch] = _hit(note.pitch, rng)
        start = round(note.start_s * RATE_HZ)
        sound = hits[note.pitch][:, : max(0, samples - start)]
        mix[:, start : start + sound.shape[1]] += sound * np.float32(note.velocity / 127)
    return mix


def _hit(pitch: int, rng: np.random.Generator) -> Floats:
    """The sound of one drum of General MIDI, panned unless it is a kick or snare."""
    if pitch in (35, 36):
        sound, level = _drop(rng, (38, 65), (0.12, 0.6), click=0.3), 1.0
    elif pitch in (38, 40):
        body = _drop(rng, (150, 230), (0.06, 0.2), click=0.0)
        rattle = _noise(rng, (800, 3000), (0.08, 0.3))
        length = min(len(body), len(rattle))
        sound, level = body[:length] * rng.uniform(0.2, 1.0) + rattle[:length], 0.7
    elif pitch in (41, 45, 47, 48, 50):
        sound, level = _drop(rng, (70 + 6 * (pitch - 41), 110 + 8 * (pitch - 41)), (0.15, 0.5)), 0.7
    elif pitch in (42, 44, 70, 54):
        sound, level = _metal(rng, (5000, 9000), (0.02, 0.09)), 0.35
    elif pitch == 46:
        sound, level = _metal(rng, (5000, 8000), (0.15, 0.5)), 0.35
    elif pitch in (49, 51, 57):
        sound, level = _metal(rng, (2500, 6000), (0.5, 1.5)), 0.35
    else:
        sound, level = _noise(rng, (900, 1800), (0.03, 0.15)), 0.6
    pan = 0.0 if pitch in (35, 36, 38, 40) else float(rng.uniform(-0.5, 0.5))
    loud = sound * level / max(float(np.abs(sound).max()), 1e-6)
    return np.stack([loud * (1 - pan), loud * (1 + pan)]).astype(np.float32)


def _decay(rng: np.random.Generator, decay_s: tuple[float, float]) -> tuple[Floats, Floats]:
    """The times of a sound that fades, in seconds, and its level at each."""
    fades_s = float(rng.uniform(*decay_s))
    times_s = np.arange(round(3 * fades_s * RATE_HZ)) / RATE_HZ
    return times_s, np.exp(-times_s / fades_s)


def _drop(
    rng: np.random.Generator,
    end_hz: tuple[float, float],
    decay_s: tuple[float, float],
    click: float = 0.1,
) -> Floats:
    """A sine whose pitch falls, with a click at its start."""
    times_s, fade = _decay(rng, decay_s)
    low_hz, sweep = float(rng.uniform(*end_hz)), float(rng.uniform(0.5, 6.0))
    glide_s = float(rng.uniform(0.01, 0.06))
    cycles = low_hz * (times_s + sweep * glide_s * (1 - np.exp(-times_s / glide_s)))
    body = np.tanh(np.sin(2 * np.pi * cycles) * rng.uniform(0.5, 3.0)) * fade
    body += click * rng.random() * rng.normal(size=len(times_s)) * np.exp(-times_s / 0.003)
    return _without_clicks(body)


def _noise(
    rng: np.random.Generator, cut_hz: tuple[float, float], decay_s: tuple[float, float]
) -> Floats:
    """Noise above a frequency."""
    times_s, fade = _decay(rng, decay_s)
    sections = butter(2, float(rng.uniform(*cut_hz)), "highpass", fs=RATE_HZ, output="sos")
    hiss = sosfilt(sections, rng.normal(size=len(times_s))) * fade
    return _without_clicks(hiss)


def _metal(
    rng: np.random.Generator, cut_hz: tuple[float, float], decay_s: tuple[float, float]
) -> Floats:
    """Six square waves without harmony, some noise, above a frequency."""
    times_s, fade = _decay(rng, decay_s)
    pitches_hz = rng.uniform(300, 1100) * rng.uniform(1.0, 2.6, 6)
    ring = np.sign(np.sin(2 * np.pi * pitches_hz[:, None] * times_s)).sum(0)
    ring = ring * rng.uniform(0.0, 1.0) + rng.normal(size=len(times_s)) * rng.uniform(0.3, 2.0)
    sections = butter(3, float(rng.uniform(*cut_hz)), "highpass", fs=RATE_HZ, output="sos")
    return _without_clicks(sosfilt(sections, ring) * fade)


def _without_clicks(sound: Floats) -> Floats:
    """With a short fade at the end."""
    count = min(len(sound), round(FADE_S * RATE_HZ))
    faded = sound.astype(np.float32)
    faded[len(faded) - count :] *= np.linspace(1.0, 0.0, count, dtype=np.float32)
    return faded
