"""Sings melodies: espeak-ng says words, WORLD moves them onto the notes.

Every word is taken apart once into pitch, spectral envelope and aperiodicity; a note is the
word's frames stretched to the note's length with the pitch curve of the note.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

from .songs import Melody, Note, Song

SPEECH_RATE_HZ = 22050
FRAME_S = 0.005
WORDS = (
    "love day night sky fly home you me now rain sun moon slow down high low away alone tonight "
    "river ocean summer fire water stay go run free dream light heart road time shine over under "
    "hello yellow mellow baby maybe never ever only lonely story glory morning evening la na oh "
    "ah yeah hey mama luna sole mare vida amor cielo rosa"
)

Floats = npt.NDArray[np.float64]


@dataclass
class Word:
    """WORLD's parameters of a spoken word: `voiced` is (frames,), the others (frames, bins)."""

    voiced: npt.NDArray[np.bool_]
    envelope: Floats
    aperiodicity: Floats


def sing(song: Song, rate_hz: int, words: Sequence[Word] | None = None) -> npt.NDArray[np.float32]:
    """Render the melody of a song (and its harmony voice, if any).

    The voice of the melody says the words, unless other `words` are given. Returns float32 of shape
    (2, samples) at `rate_hz`, `song.duration_s` long, not normalised.
    """
    rng = np.random.default_rng([song.seed, int(song.held_out), 7])
    samples = round(song.duration_s * rate_hz)
    melody = song.melody
    if not melody.notes:
        return np.zeros((2, samples), np.float32)
    words = words or [
        take_apart(speak(text, melody.voice.name))
        for text in rng.choice(WORDS.split(), 12, replace=False)
    ]
    lead = _to_rate(_voice_line(melody, words, song.duration_s, rng), rate_hz, samples)
    pan = float(rng.uniform(-0.15, 0.15))
    stereo = np.stack([lead * (1 - pan), lead * (1 + pan)])
    if melody.harmony_steps:
        second = _harmony(melody, song.scale)
        line = _to_rate(_voice_line(second, words, song.duration_s, rng), rate_hz, samples)
        side = float(rng.uniform(-0.5, 0.5))
        stereo += 0.5 * np.stack([line * (1 - side), line * (1 + side)])
    return stereo.astype(np.float32)


def speak(text: str, voice: str) -> Floats:
    """A word said by espeak-ng, without the silence around it; (samples,) at SPEECH_RATE_HZ."""
    command = ["espeak-ng", "-v", voice, "-s", "130", "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    speech, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float64")
    if rate_hz != SPEECH_RATE_HZ:
        raise ValueError(f"espeak-ng spoke at {rate_hz} Hz, not at {SPEECH_RATE_HZ} Hz")
    loud = np.flatnonzero(np.abs(speech) > 0.01)
    if loud.size == 0:
        raise ValueError(f"espeak-ng voice {voice!r} said nothing for {text!r}")
    word: Floats = np.ascontiguousarray(speech[loud[0] : loud[-1] + 1])
    return word


def take_apart(speech: Floats) -> Word:
    """WORLD's parameters of float64 (samples,) at SPEECH_RATE_HZ."""
    import pyworld

    coarse, times = pyworld.dio(speech, SPEECH_RATE_HZ, frame_period=1000 * FRAME_S)
    pitch_hz = pyworld.stonemask(speech, coarse, times, SPEECH_RATE_HZ)
    envelope = pyworld.cheaptrick(speech, pitch_hz, times, SPEECH_RATE_HZ)
    aperiodicity = pyworld.d4c(speech, pitch_hz, times, SPEECH_RATE_HZ)
    return Word(pitch_hz > 0, envelope, aperiodicity)


def _voice_line(
    melody: Melody, words: Sequence[Word], duration_s: float, rng: np.random.Generator
) -> Floats:
    """Sing one line; float64 of shape (samples,) at SPEECH_RATE_HZ."""
    import pyworld

    frames = int(duration_s / FRAME_S) + 1
    bins = words[0].envelope.shape[1]
    pitch_hz = np.zeros(frames)
    envelope = np.full((frames, bins), 1e-12)
    aperiodicity = np.ones((frames, bins))
    vibrato_hz, depth = rng.uniform(4.8, 6.5), rng.uniform(0.1, 0.45)
    before = melody.notes[0].pitch
    for note, index in zip(melody.notes, melody.words, strict=True):
        word = words[index % len(words)]
        first = int(note.start_s / FRAME_S)
        count = min(int(note.duration_s / FRAME_S), frames - first)
        if count < 4:
            continue
        source = _stretch(len(word.voiced), count)
        span = slice(first, first + count)
        curve_hz = _pitch_curve(note, before, count, vibrato_hz, depth, rng)
        pitch_hz[span] = np.where(word.voiced[source], curve_hz, 0.0)
        fade = np.minimum(1.0, np.minimum(np.arange(count) + 1, count - np.arange(count)) / 5)
        envelope[span] = word.envelope[source] * (fade**2)[:, None]
        aperiodicity[span] = word.aperiodicity[source]
        before = note.pitch
    line: Floats = pyworld.synthesize(
        pitch_hz, envelope, aperiodicity, SPEECH_RATE_HZ, 1000 * FRAME_S
    )
    return line


def _stretch(length: int, count: int) -> npt.NDArray[np.int64]:
    """For each of `count` frames, the frame of the word to use: the first 30 % and the last 20 %
    of the word keep their speed where there is room, the middle is stretched."""
    head, tail = min(int(0.3 * length), count // 3), min(int(0.2 * length), count // 4)
    middle = np.linspace(0.3 * length, 0.8 * length, count - head - tail)
    places = np.concatenate([
        np.linspace(0, 0.3 * length, head, endpoint=False),
        middle,
        np.linspace(0.8 * length, length - 1, tail),
    ])  # fmt: skip
    frames: npt.NDArray[np.int64] = np.clip(places, 0, length - 1).astype(np.int64)
    return frames


def _pitch_curve(
    note: Note, before: int, count: int, vibrato_hz: float, depth: float, rng: np.random.Generator
) -> Floats:
    """Pitch in Hz for each frame of a note: a short glide, then vibrato that grows."""
    times_s = np.arange(count) * FRAME_S
    glide = np.clip(before - note.pitch, -4, 4) * np.exp(-times_s / 0.03)
    swell = np.clip((times_s - 0.2) / 0.3, 0, 1) * depth
    vibrato = swell * np.sin(2 * np.pi * vibrato_hz * times_s + rng.uniform(0, 6.28))
    drift = np.cumsum(rng.normal(0, 0.008, count))
    semitones = note.pitch + glide + vibrato + np.clip(drift, -0.25, 0.25)
    curve: Floats = 440.0 * 2.0 ** ((semitones - 69) / 12)
    return curve


def _harmony(melody: Melody, scale: tuple[int, ...]) -> Melody:
    """The same words, some steps of the scale (its pitch classes are `scale`) higher."""
    tones = [pitch for pitch in range(128) if pitch % 12 in scale]
    notes = [
        Note(
            note.start_s + 0.012, note.duration_s,
            tones[tones.index(note.pitch) + melody.harmony_steps], note.velocity,
        )
        for note in melody.notes
    ]  # fmt: skip
    return Melody(melody.voice, notes, melody.words)


def _to_rate(line: Floats, rate_hz: int, samples: int) -> Floats:
    wide = resample_poly(line, rate_hz // SPEECH_RATE_HZ, 1)[:samples]
    return np.pad(wide, (0, samples - len(wide)))
