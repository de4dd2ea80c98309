"""A second test set, made independently of the songs that models are trained on.

It shares no code with the generator in `training/`, only libraries and files of sounds: forms,
chords, drum patterns, singers and mix are its own. Songs are written in beats; drums are sampled or
computed as in an analogue drum machine, and speech is tuned to the key phrase by phrase.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import butter, lfilter, oaconvolve, resample_poly, sosfiltfilt

DATA = Path(__file__).parents[2] / "data"
RATE_HZ = 44100
SPEECH_RATE_HZ = 16000
DURATION_S = 24.0
SAMPLES = int(DURATION_S * RATE_HZ)
FONTS = (
    "fluid-soundfont-gm/FluidR3_GM.sf2", "timgm6mb-soundfont/TimGM6mb.sf2",
    "musescore-general-soundfont-small/MuseScore_General_Lite.sf3",
)  # fmt: skip
DRUM_FONTS = (
    "avldrums.lv2-soundfont/Black_Pearl_4_LV2.sf2", "avldrums.lv2-soundfont/Red_Zeppelin_4_LV2.sf2",
)  # fmt: skip
PEOPLE = ("en", "fr", "it", "ru")

# Chords as semitones above the key and "m" for minor, one for each bar.
CHORDS = {
    "blues": "0 0 0 0 5 5 0 0 7 5 0 7",
    "doo-wop": "0 9m 5 7",
    "andalusian": "9m 7 5 4",
    "dorian": "2m 7 2m 7",
    "canon": "0 7 9m 4m 5 0 5 7",
    "jazz": "2m 7 0 9m",
    "rock": "0 10 5 0",
    "ballad": "0 4m 5 5m",
}
EIGHTHS = (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)
# Hits in beats of a bar of four: kick, snare, hat, and the sound of the hat.
Beats = Sequence[float]
DRUMS: dict[str, tuple[Beats, Beats, Beats, int]] = {
    "rock": ((0, 2, 2.5), (1, 3), EIGHTHS, 42),
    "disco": ((0, 1, 2, 3), (1, 3), (0.5, 1.5, 2.5, 3.5), 46),
    "shuffle": ((0, 2), (1, 3), (0, 0.67, 1, 1.67, 2, 2.67, 3, 3.67), 51),
    "half time": ((0, 1.75), (2,), EIGHTHS, 42),
    "train": ((0, 1, 2, 3), (0.5, 1, 1.5, 2.5, 3, 3.5), (), 42),
    "bossa": ((0, 1.5, 2, 3.5), (0.75, 2.25, 3), EIGHTHS, 42),
    "motown": ((0, 1.5, 2), (0, 1, 2, 3), EIGHTHS, 54),
    "breakbeat": ((0, 0.5, 2.5), (1, 1.75, 2.25, 3), EIGHTHS, 42),
}
BASSES = {
    "roots": ((0, 0), (1, 0), (2, 0), (3, 0)),
    "fifths": ((0, 0), (2, 7)),
    "octaves": tuple((beat / 2, 12 * (beat % 2)) for beat in range(8)),
    "walking": ((0, 0), (1, 4), (2, 7), (3, 9)),
    "tresillo": ((0, 0), (1.5, 0), (3, 7)),
    "long": ((0, 0),),
}
STRUMS = {
    "whole": ((0, 4),), "skank": tuple((beat + 0.5, 0.3) for beat in range(4)),
    "charleston": ((0, 1), (1.5, 0.5)), "eighths": tuple((beat / 2, 0.4) for beat in range(8)),
    "halves": ((0, 2), (2, 2)),
}  # fmt: skip
KEYS = (0, 2, 4, 5, 7, 16, 18, 21, 24, 25, 26, 27, 29, 48, 50, 61, 89, 11)
LEADS = (22, 40, 56, 57, 65, 66, 71, 73, 75, 80, 81, 104)
BASS_PROGRAMS = (32, 33, 34, 35, 38, 39)
TOMS = (50, 48, 45, 43)
FORMS = ("NVVC", "VCVC", "NVCV", "VVCI", "IVCC")
"""Sections of a song: N is an intro, V a verse, C a chorus, I an instrumental part."""

Floats = npt.NDArray[np.float64]
Hit = tuple[float, int, float, int]
"""Start and length in beats with the pitch between them, and velocity."""


@dataclass(frozen=True)
class Score:
    """A song before it sounds. Times are in beats."""

    seed: int
    tempo_bpm: float
    key: int
    drums: str
    machine: bool
    fonts: tuple[int, int, int]
    bass_program: int
    keys_program: int
    lead_program: int
    person: str
    drum_hits: list[Hit]
    bass_hits: list[Hit]
    keys_hits: list[Hit]
    lead_hits: list[Hit]
    sung_bars: list[int]


def write(seed: int) -> Score:
    """Write song `seed`; the same seed gives the same song."""
    rng = np.random.default_rng(77_000 + seed)

    def pick(names: Iterable[str]) -> str:
        return str(rng.choice(list(names)))

    tempo_bpm = float(rng.integers(76, 150))
    bars = int(np.ceil(DURATION_S * tempo_bpm / 240)) + 1
    form, chords = pick(FORMS), CHORDS[pick(CHORDS)].split()
    key, groove = int(rng.integers(12)), pick(DRUMS)
    bass_style, strum = BASSES[pick(BASSES)], STRUMS[pick(STRUMS)]
    kick, snare, hats, hat = DRUMS[groove]
    drums, bass, keys, lead, sung = [], [], [], [], []
    for bar in range(bars):
        section, start = form[bar * len(form) // bars], 4.0 * bar
        chord = chords[bar % len(chords)]
        root = key + int(chord.rstrip("m"))
        third = 3 if chord.endswith("m") else 4
        loud = 12 if section == "C" else 0
        if section != "N" or bar % 2:
            for beats, drum, velocity in ((kick, 36, 96), (snare, 38, 92), (hats, hat, 66)):
                drums += [
                    (start + float(beat), drum, 0.25, int(velocity + loud + rng.integers(-9, 10)))
                    for beat in beats
                ]
            if bar % 4 == 3:
                drums += [(start + 3 + i / 4, tom, 0.25, 90 + 5 * i) for i, tom in enumerate(TOMS)]
            if section == "C" and bar % 4 == 0:
                drums.append((start, 49, 2.0, 105))
            low = 28 + (root - 28) % 12
            ends = [*(beat for beat, _ in bass_style[1:]), 4]
            for (beat, up), end in zip(bass_style, ends, strict=True):
                step = third if up == 4 else up
                bass.append((start + beat, low + step, (end - beat) * 0.9, 92 + loud))
        middle = 55 + (root - 55) % 12
        for beat, length in strum:
            for step in (0, third, 7) if section != "C" else (0, third, 7, 12):
                keys.append((start + beat, middle + step, length, 76 + loud))
        if section in "IC" and rng.random() < 0.7:
            scale = [pitch for pitch in range(64, 86) if (pitch - root) % 12 in (0, third, 7, 2, 9)]
            at = float(rng.choice([0, 0.5, 1]))
            while at < 3.5:
                length = float(rng.choice([0.5, 0.5, 1, 1.5]))
                lead.append((start + at, int(rng.choice(scale)), length, 88))
                at += length
        if section in "VC" and bar % 2 == 0:
            sung.append(bar)
    fonts = rng.integers(len(FONTS), size=3)
    return Score(
        seed, tempo_bpm, key, groove, bool(rng.random() < 1 / 3),
        (int(fonts[0]), int(fonts[1]), int(rng.integers(len(DRUM_FONTS)))),
        int(rng.choice(BASS_PROGRAMS)), int(rng.choice(KEYS)), int(rng.choice(LEADS)), pick(PEOPLE),
        drums, bass, keys, lead, sung,
    )  # fmt: skip


def describe(seed: int) -> str:
    """Who plays a song."""
    score = write(seed)
    kit = "drum machine" if score.machine else Path(DRUM_FONTS[score.fonts[2]]).stem
    return (
        f"{score.tempo_bpm:.0f} bpm, {score.drums} on {kit}, bass {score.bass_program} of "
        f"{Path(FONTS[score.fonts[0]]).stem}, other {score.keys_program} and "
        f"{score.lead_program} of {Path(FONTS[score.fonts[1]]).stem}, {score.person} speaker"
    )


def render(seed: int) -> npt.NDArray[np.int16]:
    """Drums, bass, other and vocals of a song, as int16 of shape (4, 2, SAMPLES) at RATE_HZ."""
    score = write(seed)
    rng = np.random.default_rng(78_000 + seed)
    beat_s = 60 / score.tempo_bpm
    bass_font, keys_font = (DATA / "sounds" / FONTS[index] for index in score.fonts[:2])
    if score.machine:
        drums = drum_machine(score.drum_hits, beat_s, rng)
    else:
        kit = DATA / "sounds" / DRUM_FONTS[score.fonts[2]]
        drums = sample_player(kit, 0, score.drum_hits, beat_s)
    bass = sample_player(bass_font, score.bass_program, score.bass_hits, beat_s)
    keys = sample_player(keys_font, score.keys_program, score.keys_hits, beat_s)
    lead = sample_player(keys_font, score.lead_program, score.lead_hits, beat_s)
    return mix_down([drums, bass, keys, lead, singer(score, beat_s, rng)], rng)


@functools.lru_cache(maxsize=3)
def load(font: Path) -> tuple[Any, int]:
    """A synthesizer with a sound font, and the number of the font in it."""
    import tinysoundfont

    player = tinysoundfont.Synth(-10.0, RATE_HZ)
    return player, player.sfload(str(font))


def sample_player(font: Path, program: int, hits: list[Hit], beat_s: float) -> Floats:
    """Play hits with a program of a sound font; (2, SAMPLES)."""
    player, number = load(font)
    player.sounds_off()
    player.program_select(0, number, 0, program)
    timeline = [
        (int(start * beat_s * RATE_HZ), pitch, velocity) for start, pitch, _, velocity in hits
    ]
    timeline += [(int((start + length) * beat_s * RATE_HZ) - 1, pitch, 0)
                 for start, pitch, length, _ in hits]  # fmt: skip
    out, now = np.zeros((SAMPLES, 2)), 0
    for at, pitch, velocity in [*sorted(timeline), (SAMPLES, 0, 0)]:
        stop = min(at, SAMPLES)
        if stop > now:
            block = np.frombuffer(player.generate(stop - now), np.float32)
            out[now:stop] = block.reshape(-1, 2)
            now = stop
        if velocity:
            player.noteon(0, pitch, velocity)
        else:
            player.noteoff(0, pitch)
    return out.T


def drum_machine(hits: list[Hit], beat_s: float, rng: np.random.Generator) -> Floats:
    """Play hits with swept sines and filtered noise; (2, SAMPLES)."""
    times_s = np.arange(RATE_HZ // 2) / RATE_HZ
    noise = rng.normal(size=len(times_s))
    bright = lfilter(*butter(2, 7000, "highpass", fs=RATE_HZ), noise)
    sweep = np.sin(2 * np.pi * (52 * times_s + 5.5 * (1 - np.exp(-28 * times_s))))
    crack = lfilter(*butter(2, (900, 6000), "bandpass", fs=RATE_HZ), noise)
    body = np.sin(2 * np.pi * 185 * times_s) * np.exp(-22 * times_s)
    sounds = {
        36: sweep * np.exp(-9 * times_s), 38: body + 0.9 * crack * np.exp(-18 * times_s),
        42: 0.5 * bright * np.exp(-70 * times_s), 46: 0.5 * bright * np.exp(-12 * times_s),
        49: 0.6 * bright * np.exp(-6 * times_s), 51: 0.4 * bright * np.exp(-20 * times_s),
        54: 0.4 * bright * np.exp(-35 * times_s),
    }  # fmt: skip
    for tom in TOMS:
        frequency_hz = 70 * 2 ** ((tom - 42) / 12)
        sounds[tom] = np.sin(2 * np.pi * frequency_hz * times_s) * np.exp(-10 * times_s)
    out = np.zeros(SAMPLES + len(times_s))
    for start, drum, _, velocity in hits:
        at = min(int(start * beat_s * RATE_HZ), SAMPLES)
        out[at : at + len(times_s)] += sounds[drum] * (velocity / 110) ** 1.5
    return np.repeat(out[None, :SAMPLES], 2, 0)


def singer(score: Score, beat_s: float, rng: np.random.Generator) -> Floats:
    """A person's speech, slowed down and tuned to the key, one phrase for each of the sung bars."""
    import pyworld

    folder = DATA / "voices" / "prompts" / score.person
    names = sorted(json.loads((folder / "texts.json").read_text("utf-8")))
    out = np.zeros(SAMPLES + RATE_HZ)
    scale = {(score.key + step) % 12 for step in (0, 2, 4, 7, 9)}
    for bar in score.sung_bars:
        speech, _ = soundfile.read(folder / f"{rng.choice(names)}.flac")
        # Six beats of singing from three beats of speech.
        length = int(3 * beat_s * SPEECH_RATE_HZ)
        start = int(rng.integers(max(1, len(speech) - length)))
        phrase = np.ascontiguousarray(speech[start : start + length])
        pitch_hz, times_s = pyworld.harvest(phrase, SPEECH_RATE_HZ)
        envelope = pyworld.cheaptrick(phrase, pitch_hz, times_s, SPEECH_RATE_HZ)
        aperiodicity = pyworld.d4c(phrase, pitch_hz, times_s, SPEECH_RATE_HZ)
        slow = np.repeat(np.arange(len(pitch_hz)), 2)
        sung = pyworld.synthesize(
            tuned(pitch_hz[slow], scale, rng), envelope[slow], aperiodicity[slow], SPEECH_RATE_HZ
        )
        wide = resample_poly(sung, RATE_HZ // 100, SPEECH_RATE_HZ // 100)
        at = int(bar * 4 * beat_s * RATE_HZ)
        room = min(len(wide), len(out) - at)
        if room > 0:
            out[at : at + room] += wide[:room] / max(float(np.abs(wide).max()), 1e-6)
    return np.repeat(out[None, :SAMPLES], 2, 0)


def tuned(pitch_hz: Floats, scale: set[int], rng: np.random.Generator) -> Floats:
    """Replace a pitch curve in Hz by notes of a scale, a quarter of a second each, with vibrato."""
    notes = np.where(pitch_hz > 0, 69 + 12 * np.log2(np.maximum(pitch_hz, 60) / 440), 0)
    frames, shift = 50, int(rng.integers(2, 8))
    steps = np.zeros(len(notes))
    for start in range(0, len(notes), frames):
        part = notes[start : start + frames]
        wanted = (float(np.median(part[part > 0])) if (part > 0).any() else 60.0) + shift
        # Speech moves by less than a melody does.
        wanted += float(rng.choice([-4, 0, 0, 3, 5]))
        near = [note for note in range(40, 90) if note % 12 in scale]
        steps[start : start + frames] = min(near, key=lambda note: abs(note - wanted))
    glide = np.convolve(np.pad(steps, 6, "edge"), np.ones(13) / 13, "valid")
    vibrato = 0.25 * np.sin(2 * np.pi * 5.2 * 0.005 * np.arange(len(notes)))
    return np.where(pitch_hz > 0, 440 * 2 ** ((glide + vibrato - 69) / 12), 0.0)


def mix_down(tracks: list[Floats], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Mix drums, bass, keys, lead and voice down to four stems, as int16 of (4, 2, samples)."""
    # Level in dB by RMS, low cut in Hz, place from -1 to 1, and share of the echo.
    strips = (
        (-17, 30, 0.0, 0.05), (-19, 30, 0.0, 0.0), (-21, 110, rng.uniform(-0.6, 0.6), 0.12),
        (-23, 150, rng.uniform(-0.5, 0.5), 0.2), (-17, 100, 0.0, rng.uniform(0.05, 0.25)),
    )  # fmt: skip
    times_s = np.arange(RATE_HZ) / RATE_HZ
    echo = rng.normal(size=(2, RATE_HZ)) * np.exp(-times_s * rng.uniform(4, 9)) * 0.02
    done = []
    for track, (level, cut, place, wet) in zip(tracks, strips, strict=True):
        sound = sosfiltfilt(butter(1, cut, "highpass", fs=RATE_HZ, output="sos"), track)
        sound = sound + wet * oaconvolve(sound, echo, axes=1)[:, :SAMPLES]
        sound = sound * np.array([[min(1, 1 - place)], [min(1, 1 + place)]])
        active = sound[:, np.abs(sound).max(0) > 1e-4]
        if active.size:
            loud = level + rng.uniform(-2, 2)
            sound = sound * 10 ** (loud / 20) / np.sqrt((active**2).mean())
        done.append(sound)
    stems = np.stack([done[0], done[1], done[2] + done[3], done[4]])
    # The same gain for all stems, so that they still add up to the mixture.
    power = lfilter([0.001], [1, -0.999], (stems.sum(0) ** 2).mean(0))
    stems *= np.minimum(1.0, (np.maximum(power, 1e-9) / 0.02) ** -0.2)
    stems *= 0.9 / max(float(np.abs(stems.sum(0)).max()), float(np.abs(stems).max()), 1e-6)
    return np.round(stems * 32767).astype(np.int16)
