"""Drum kits of Hydrogen: recordings of single hits, and an XML file that names them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

from training.mix import RATE_HZ
from training.songs import Note

Floats = npt.NDArray[np.float32]

# For each drum: its General MIDI pitches, and words in names of instruments, the best word first.
DRUMS: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((35, 36), ("kick", "bass drum", "bass", "bd")),
    ((38, 40), ("snare", "sd")),
    ((37,), ("stick", "rim", "snare", "sd")),
    ((39,), ("clap", "hand", "snare", "sd")),
    ((42, 44), ("closed", "hat cl", "hh cl", "pedal", "hat", "hh")),
    ((46,), ("open", "hat op", "hh op", "hat", "hh")),
    ((49, 57), ("crash", "cymbal", "ride", "open")),
    ((51,), ("ride", "cymbal", "crash", "open")),
    ((41, 45), ("tom low", "low tom", "floor", "tom 2", "tom")),
    ((47, 48), ("tom mid", "mid tom", "tom 2", "tom")),
    ((50,), ("tom hi", "high tom", "hi tom", "tom 1", "tom")),
    ((54,), ("tambourine", "shaker", "cowbell", "closed", "hat", "hh")),
    ((70,), ("shaker", "maraca", "cabasa", "closed", "hat", "hh")),
)
HATS = (42, 44, 46)
HAT_FADE_S = 0.02


@dataclass(frozen=True)
class Layer:
    """One recording of a hit, for velocities from `low` to `high` (0 to 1)."""

    file: str
    low: float
    high: float
    gain: float


def layers_of(kit: Path) -> dict[str, tuple[Layer, ...]]:
    """The layers of each instrument of a kit, by name in lower case."""
    root = ElementTree.parse(kit / "drumkit.xml").getroot()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    instruments: dict[str, tuple[Layer, ...]] = {}
    for instrument in root.iter("instrument"):
        layers = tuple(
            Layer(
                layer.findtext("filename", ""), float(layer.findtext("min", "0")),
                float(layer.findtext("max", "1")), float(layer.findtext("gain", "1")),
            )
            for layer in instrument.iter("layer")
            if (kit / layer.findtext("filename", "")).is_file()
        )  # fmt: skip
        name = instrument.findtext("name", "").lower()
        if layers:
            instruments.setdefault(name, layers)
        elif file := instrument.findtext("filename"):
            instruments.setdefault(name, (Layer(file, 0.0, 1.0, 1.0),))
    return instruments


@functools.lru_cache(maxsize=4)
def assignment(kit: Path) -> dict[int, tuple[Layer, ...]]:
    """The layers of each General MIDI pitch that the kit can play."""
    instruments = layers_of(kit)
    assigned: dict[int, tuple[Layer, ...]] = {}
    for pitches, words in DRUMS:
        names = [name for word in words for name in instruments if word in name]
        if names:
            assigned.update(dict.fromkeys(pitches, instruments[names[0]]))
    return assigned


@functools.lru_cache(maxsize=256)
def _recording(path: Path) -> Floats:
    """A hit as float32 of shape (2, samples) at RATE_HZ."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    stereo = audio.T if audio.shape[1] == 2 else np.repeat(audio[:, :1].T, 2, 0)
    if rate_hz != RATE_HZ:
        divisor = gcd(rate_hz, RATE_HZ)
        stereo = resample_poly(stereo, RATE_HZ // divisor, rate_hz // divisor, axis=1)
    hit: Floats = stereo.astype(np.float32)
    return hit


def play_kit(kit: Path, notes: Sequence[Note], duration_s: float) -> Floats:
    """Play notes on a kit; drums that it lacks are silent. float32 of shape (2, samples)."""
    samples = round(duration_s * RATE_HZ)
    mix = np.zeros((2, samples), np.float32)
    assigned = assignment(kit)
    ordered = sorted(notes, key=lambda note: note.start_s)
    hats = [round(note.start_s * RATE_HZ) for note in ordered if note.pitch in HATS]
    for note in ordered:
        start = round(note.start_s * RATE_HZ)
        if note.pitch not in assigned or start >= samples:
            continue
        strength = note.velocity / 127
        layers = assigned[note.pitch]
        layer = next((one for one in layers if one.low <= strength <= one.high), layers[-1])
        hit = _recording(kit / layer.file) * np.float32(layer.gain * strength)
        if note.pitch in HATS:
            hit = _choke(hit, min((hat - start for hat in hats if hat > start), default=samples))
        hit = hit[:, : samples - start]
        mix[:, start : start + hit.shape[1]] += hit
    return mix


def _choke(hit: Floats, after: int) -> Floats:
    """A hi-hat stops when it is played again."""
    fade = np.linspace(1.0, 0.0, round(HAT_FADE_S * RATE_HZ), dtype=np.float32)
    short = hit[:, : after + len(fade)].copy()
    tail = short[:, after:]
    tail *= fade[: tail.shape[1]]
    return short
