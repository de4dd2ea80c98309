"""Writes songs as notes: chords, bass lines, drum patterns and melodies from a seed.

Nothing here makes sound. A `Song` says what is played, when (in seconds) and by which General
MIDI program; `render` and `voices` turn it into audio.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .palette import HELD_OUT, TRAIN, Palette, Voice

DRUM_CHANNEL = 9
BASS_RANGE = (28, 50)
OTHER_RANGE = (52, 84)

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 3, 0, 4),
    (0, 2, 3, 4), (0, 6, 3, 0), (3, 4, 2, 5), (0, 1, 3, 4), (5, 4, 3, 4), (0, 4, 1, 3),
)  # fmt: skip
# Drum patterns: one character per sixteenth, a digit is loudness 1 to 9 and a dot is a rest.
_GROOVES_4_4 = (
    {36: "9.......9.......", 38: "....9.......9...", 42: "6.4.6.4.6.4.6.4."},
    {36: "9.....7.9.......", 38: "....9.......9..3", 42: "6.4.6.4.6.4.6.4."},
    {36: "9...9...9...9...", 39: "....8.......8...", 46: "..6...6...6...6.",
     42: "5...5...5...5..."},
    {36: "9..7..7...9.....", 38: "....9..2.2..9..2", 42: "6464646464646464"},
    {36: "9.........8.....", 37: "....7.......7...", 51: "6...4.4.6...4.4."},
    {36: "9.......7.8.....", 38: "........9.......", 42: "6...5...6...5..."},
    {36: "9..9..9...9.9...", 40: "....9.......9...", 70: "4343434343434343"},
    {36: "9.7...7.9.7...7.", 38: "....9.......9...", 51: "6.4.6.4.6.4.6.4.",
     54: "..3...3...3...3."},
    {36: "9.......9.9.....", 38: "....9.......9...", 46: "7...7...7...7..."},
    {35: "8.......8.......", 38: "......3.....6...", 44: "....6.......6...",
     51: "7...7..47...7..4"},
)  # fmt: skip
_GROOVES_3_4 = (
    {36: "9...........", 38: "....7...7...", 42: "6...5...5..."},
    {36: "9.....6.....", 38: "........9...", 51: "6.4.6.4.6.4."},
    {36: "9.....6.....", 37: "......8.....", 42: "6.4.4.6.4.4."},
    {36: "9.........7.", 38: "......9.....", 42: "6.5.5.6.5.5."},
)
_BASS_4_4 = (
    "0.......0.......", "0.....0.4...4...", "0.0.0.0.0.0.0.0.", "0...4...7...4...",
    "0..0..0...0.4...", "0...............", "0.7.0.7.0.7.0.7.", "0...0...0...4.2.",
    "0.....7.......0.",
)  # fmt: skip
_BASS_3_4 = ("0...........", "0...4...4...", "0.0.0.0.0.0.", "0.....4.....", "0.......4.2.")
_COMP_4_4 = (
    "x...x...x...x...", "x.....x...x.....", "..x...x...x...x.", "x.x.x.x.x.x.x.x.",
    "x.......x.......", "x..x..x...x..x..", "....x.......x...",
)  # fmt: skip
_COMP_3_4 = ("....x...x...", "x...x...x...", "x.x.x.x.x.x.", "x.....x.....")


@dataclass(frozen=True)
class Note:
    """One played note; `pitch` and `velocity` as in MIDI."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass
class Part:
    """The notes of one instrument. `pan` is 0 (left) to 127 (right)."""

    program: int
    channel: int
    pan: int
    notes: list[Note] = field(default_factory=list)


@dataclass
class Melody:
    """A sung line: `notes`, and one index per note into the words of the song."""

    voice: Voice
    notes: list[Note] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    harmony_steps: int = 0


@dataclass(frozen=True)
class Harmony:
    """The key of a song, and the degree of the scale on which the chord of each bar stands.

    `root` is a pitch class and `scale` the semitones above it. A bar has `steps` sixteenths.
    `sounding` is true for each bar whose chord an instrument plays.
    """

    root: int
    scale: tuple[int, ...]
    steps: int
    degrees: tuple[int, ...]
    sounding: tuple[bool, ...]


@dataclass
class Song:
    """Everything that is needed to render one song."""

    seed: int
    held_out: bool
    tempo_bpm: float
    duration_s: float
    drums: Part
    bass: Part
    other: list[Part]
    melody: Melody
    scale: tuple[int, ...]
    harmony: Harmony

    @property
    def programs(self) -> str:
        """The programs of the other instruments, counted from 0."""
        return ", ".join(str(part.program) for part in self.other)


@dataclass
class _Frame:
    """The harmony and time grid that all parts of a song share."""

    rng: np.random.Generator
    palette: Palette
    root: int
    scale: tuple[int, ...]
    steps: int
    step_s: float
    swing: float
    chords: list[int]
    sections: list[dict[str, bool]]

    def time_s(self, bar: int, step: float) -> float:
        late = self.swing * self.step_s if int(step) % 4 == 2 else 0.0
        jitter_s = float(self.rng.normal(0.0, 0.004))
        return max(0.0, (bar * self.steps + step) * self.step_s + late + jitter_s)

    def pitch(self, degree: int, low: int) -> int:
        """The pitch class of a scale degree, as the first MIDI pitch at or above `low`."""
        pitch_class = (self.root + self.scale[degree % 7]) % 12
        return low + (pitch_class - low) % 12

    def plays(self, bar: int, part: str) -> bool:
        return self.sections[bar // 4][part]


def make_song(
    seed: int, held_out: bool, duration_s: float = 30.0, palette: Palette | None = None
) -> Song:
    """Write the song of a seed. The same arguments always give the same song.

    It is played by the sounds of its split, unless another `palette` is given.
    """
    rng = np.random.default_rng([seed, int(held_out)])
    palette = palette or (HELD_OUT if held_out else TRAIN)
    tempo_bpm = float(rng.uniform(70, 180))
    steps = 16 if rng.random() < 0.75 else 12
    step_s = 15.0 / tempo_bpm
    bars = int(np.ceil(duration_s / (steps * step_s)))
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    second = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    chords = [(progression if bar // 8 % 2 == 0 else second)[bar % 4] for bar in range(bars)]
    sections = [
        {part: bool(rng.random() < 0.8) for part in ("drums", "bass", "other", "vocals")}
        for _ in range(bars // 4 + 1)
    ]
    sections[min(1, len(sections) - 1)] = dict.fromkeys(sections[0], True)
    scale = _SCALES["major" if rng.random() < 0.55 else "minor"]
    swing = float(rng.choice([0.0, 0.0, 0.0, 0.5]))
    frame = _Frame(
        rng, palette, int(rng.integers(12)), scale, steps, step_s, swing, chords, sections
    )
    return Song(
        seed, held_out, tempo_bpm, duration_s, _drums(frame), _bass(frame), _other(frame),
        _melody(frame), tuple(sorted((frame.root + degree) % 12 for degree in scale)),
        Harmony(
            frame.root, scale, steps, tuple(chords),
            tuple(frame.plays(bar, "bass") or frame.plays(bar, "other") for bar in range(bars)),
        ),
    )  # fmt: skip


def _choose(rng: np.random.Generator, items: tuple[int, ...]) -> int:
    return int(items[rng.integers(len(items))])


def _bar_range(frame: _Frame, part: str) -> list[int]:
    return [bar for bar in range(len(frame.chords)) if frame.plays(bar, part)]


def _drums(frame: _Frame) -> Part:
    rng = frame.rng
    grooves = _GROOVES_4_4 if frame.steps == 16 else _GROOVES_3_4
    pair = rng.choice(len(grooves), 2)
    part = Part(_choose(rng, frame.palette.drum_kits), DRUM_CHANNEL, 64)
    for bar in _bar_range(frame, "drums"):
        groove = grooves[pair[bar // 8 % 2]]
        fill = bar % 4 == 3 and rng.random() < 0.5
        if bar % 8 == 0 and rng.random() < 0.7:
            part.notes.append(Note(frame.time_s(bar, 0), 0.5, _choose(rng, (49, 57)), 100))
        for pitch, pattern in groove.items():
            for step, mark in enumerate(pattern):
                if mark == "." or (fill and step >= frame.steps - 4):
                    continue
                velocity = int(np.clip(int(mark) * 12 + 10 + rng.normal(0, 6), 20, 127))
                part.notes.append(Note(frame.time_s(bar, step), 0.15, pitch, velocity))
        if fill:
            for step in range(frame.steps - 4, frame.steps):
                pitch = _choose(rng, (38, 41, 45, 47, 48, 50))
                part.notes.append(
                    Note(frame.time_s(bar, step), 0.15, pitch, int(rng.integers(80, 120)))
                )
    return part


def _bass(frame: _Frame) -> Part:
    rng = frame.rng
    patterns = _BASS_4_4 if frame.steps == 16 else _BASS_3_4
    pair = rng.choice(len(patterns), 2)
    part = Part(_choose(rng, frame.palette.bass), 0, int(rng.integers(58, 71)))
    octave = 12 if rng.random() < 0.35 else 0
    length = float(rng.uniform(0.45, 0.95))
    for bar in _bar_range(frame, "bass"):
        pattern = patterns[pair[bar // 4 % 2]]
        onsets = [step for step, mark in enumerate(pattern) if mark != "."]
        root = frame.pitch(frame.chords[bar], BASS_RANGE[0]) + octave
        for step, end in zip(onsets, [*onsets[1:], frame.steps], strict=True):
            mark = int(pattern[step])
            pitch = root + 12 if mark == 7 else frame.pitch(frame.chords[bar] + mark, root)
            while pitch > BASS_RANGE[1]:
                pitch -= 12
            part.notes.append(
                Note(
                    frame.time_s(bar, step), (end - step) * frame.step_s * length,
                    pitch, int(rng.integers(80, 115)),
                )
            )  # fmt: skip
    return part


def _chord(frame: _Frame, bar: int, low: int, size: int) -> list[int]:
    """A close voicing of the chord of a bar, every pitch in the octave above `low`."""
    degree = frame.chords[bar]
    return sorted(frame.pitch(degree + step, low) for step in (0, 2, 4, 6)[:size])


def _other(frame: _Frame) -> list[Part]:
    rng, palette = frame.rng, frame.palette
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1]))
    roles = rng.permutation(["pad", "comp", "arp", "lead"])[:count]
    if count == 1 and roles[0] == "lead":
        roles = np.array(["comp"])
    parts = []
    for channel, role in enumerate(roles, start=1):
        program = _choose(rng, getattr(palette, str(role)))
        part = Part(program, channel, int(rng.integers(24, 104)))
        write = {"pad": _pad, "comp": _comp, "arp": _arp, "lead": _lead}[str(role)]
        write(frame, part)
        parts.append(part)
    return parts


def _pad(frame: _Frame, part: Part) -> None:
    low = int(frame.rng.integers(OTHER_RANGE[0], 66))
    size = int(frame.rng.choice([3, 3, 4]))
    velocity = int(frame.rng.integers(65, 95))
    for bar in _bar_range(frame, "other"):
        for pitch in _chord(frame, bar, low, size):
            length_s = frame.steps * frame.step_s * 0.97
            part.notes.append(Note(frame.time_s(bar, 0), length_s, pitch, velocity))


def _comp(frame: _Frame, part: Part) -> None:
    rng = frame.rng
    patterns = _COMP_4_4 if frame.steps == 16 else _COMP_3_4
    pattern = patterns[rng.integers(len(patterns))]
    low = int(rng.integers(OTHER_RANGE[0], 64))
    size = int(rng.choice([3, 3, 4]))
    length_s = float(rng.uniform(0.8, 3.5)) * frame.step_s
    for bar in _bar_range(frame, "other"):
        for step in [index for index, mark in enumerate(pattern) if mark == "x"]:
            velocity = int(rng.integers(70, 110))
            for pitch in _chord(frame, bar, low, size):
                part.notes.append(Note(frame.time_s(bar, step), length_s, pitch, velocity))


def _arp(frame: _Frame, part: Part) -> None:
    rng = frame.rng
    low = int(rng.integers(OTHER_RANGE[0] + 2, 68))
    every = int(rng.choice([1, 2, 2, 4]))
    shape = rng.permutation(6)[: int(rng.choice([3, 4, 6]))]
    length_s = every * frame.step_s * float(rng.uniform(0.8, 2.0))
    for bar in _bar_range(frame, "other"):
        triad = _chord(frame, bar, low, 3)
        tones = triad + [pitch + 12 for pitch in triad]
        for index, step in enumerate(range(0, frame.steps, every)):
            pitch = tones[shape[index % len(shape)]]
            velocity = int(rng.integers(70, 110))
            part.notes.append(Note(frame.time_s(bar, step), length_s, pitch, velocity))


def _lead(frame: _Frame, part: Part) -> None:
    velocity = int(frame.rng.integers(75, 110))
    for bar, step, steps, pitch in _line(frame, "other", 60, OTHER_RANGE[1], busy=0.6):
        start_s = frame.time_s(bar, step)
        part.notes.append(Note(start_s, steps * frame.step_s * 0.95, pitch, velocity))


def _melody(frame: _Frame) -> Melody:
    rng = frame.rng
    voice = frame.palette.voices[rng.integers(len(frame.palette.voices))]
    melody = Melody(voice, harmony_steps=int(rng.choice([0, 0, 0, 2])))
    for bar, step, steps, pitch in _line(frame, "vocals", voice.low, voice.high, busy=0.85):
        start_s = frame.time_s(bar, step)
        melody.notes.append(Note(start_s, steps * frame.step_s * 0.97, pitch, 100))
        melody.words.append(int(rng.integers(12)))
    return melody


def _line(
    frame: _Frame, part: str, low: int, high: int, busy: float
) -> list[tuple[int, int, int, int]]:
    """A melody as (bar, step, length in steps, pitch): a walk on the scale that sits on chord
    tones at the start of each bar and rests after some bars."""
    rng = frame.rng
    shortest = 2 if frame.step_s > 0.11 else 4
    tones = [pitch for pitch in range(low, high + 1) if (pitch - frame.root) % 12 in frame.scale]
    place = len(tones) // 2
    line = []
    for bar in _bar_range(frame, part):
        if rng.random() > busy:
            continue
        step = int(rng.choice([0, 0, 0, 2, 4]))
        chord = {pitch % 12 for pitch in _chord(frame, bar, 60, 3)}
        while step < frame.steps:
            steps = min(shortest * int(rng.choice([1, 1, 2, 2, 3, 4])), frame.steps - step)
            place = int(np.clip(place + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]), 0,
                                len(tones) - 1))  # fmt: skip
            if step % 8 == 0:
                near = sorted(range(len(tones)), key=lambda index: abs(index - place))
                place = next(index for index in near if tones[index] % 12 in chord)
            if rng.random() < 0.9:
                line.append((bar, step, steps, tones[place]))
            step += steps
    return line
