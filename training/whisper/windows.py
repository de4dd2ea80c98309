"""Training examples: windows of several utterances, sung lines or nothing, as tensors.

`Windows` makes scenes, distorts their sound, and turns them into log-mel spectra, tokens and the
frames that every token belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import sound
from .examples import Example, make_example
from .scene import Floats, Scene
from .singing import SungSong, load_songs
from .speech import RATE_HZ, Utterance, load_speech


@dataclass(frozen=True)
class Mixture:
    """The shares of what windows hold; the rest is speech, some of it `clean`."""

    seconds: float
    silent: float = 0.0
    sung: float = 0.0
    prompts: float = 0.0
    cuts: float = 0.0
    clean: float = 0.0


class Windows:
    """An endless source of training examples, the same for the same seeds."""

    def __init__(self, seeds: list[int], held_out: bool = False) -> None:
        self.rng = np.random.default_rng(seeds)
        self.utterances, self.names = load_speech(held_out)
        self.songs: list[SungSong] = load_songs(held_out)
        # In training an utterance is drawn as often as it has words: there is more to learn from.
        drawn = self.utterances
        if not held_out:
            drawn = [item for item in self.utterances for _ in item.words]
        self.drawn = drawn
        self.by_voice: dict[str, list[Utterance]] = {}
        for utterance in drawn:
            self.by_voice.setdefault(utterance.voice, []).append(utterance)
        # Class 0 of a frame is silence, which has several names.
        self.classes = np.array([
            0 if name.startswith("_") else number
            for number, name in enumerate(self.names, start=1)
        ], np.float32)  # fmt: skip

    def example(self, mixture: Mixture) -> Example:
        """Draw one example."""
        kind = self.rng.random()
        if kind < mixture.silent:
            scene = self.silent(mixture.seconds)
        elif kind < mixture.silent + mixture.sung and self.songs:
            scene = self.sung(mixture)
        else:
            scene = self.spoken(mixture)
        prompt = self._prompt() if self.rng.random() < mixture.prompts else []
        tilt = sound.random_tilt(self.rng) if self.rng.random() < 0.7 else None
        louder = float(self.rng.uniform(0, 1.0)) if self.rng.random() < 0.3 else 0.0
        mel = sound.log_mel(scene.audio, tilt, louder)
        # A decoder fills up a recording of less than 30 s with zeros behind its log-mel spectrum.
        if scene.end_s is not None and self.rng.random() < 0.7:
            mel[:, round(scene.end_s * 100) :] = 0.0
        return make_example(self.rng, mel, scene, prompt)

    def spoken(self, mixture: Mixture) -> Scene:
        """Utterances one after another with pauses, then sound that disturbs."""
        rng, window_s = self.rng, mixture.seconds
        scene = Scene(np.zeros(round(window_s * RATE_HZ), np.float32))
        voice = self._voice() if rng.random() < 0.5 else None
        at_s = float(rng.uniform(0.0, 1.2)) if rng.random() < 0.9 else float(rng.uniform(1, 5))
        short = window_s > 20 and rng.random() < 0.45
        limit = int(rng.integers(1, 9)) if short else 1000
        busy = rng.random() < 0.5
        phonemes: list[Floats] = []
        while len(scene.sentences) < limit:
            utterance = self._utterance(voice)
            speed = float(rng.uniform(0.84, 1.18)) if rng.random() < 0.7 else 1.0
            speech = sound.change_speed(utterance.samples, speed)
            first = round(at_s * RATE_HZ)
            room = len(scene.audio) - first
            words = utterance.words.copy()
            words[:, 1:] = words[:, 1:] / np.float32(speed) + np.float32(at_s)
            cut = len(speech) > room
            if cut and (room < 0.4 * RATE_HZ or rng.random() >= mixture.cuts):
                break
            level = np.float32(10 ** (rng.uniform(-6, 6) / 20))
            scene.audio[first : first + len(speech)] += level * speech[:room]
            classes = self.classes[utterance.phonemes[:, 0].astype(int)]
            starts_s = utterance.phonemes[:, 1] / np.float32(speed) + np.float32(at_s)
            phonemes.append(np.stack([classes, starts_s], 1))
            if cut:
                scene.cut = words
                break
            scene.sentences.append(words)
            pause_s = rng.uniform(0.15, 0.8) if busy else rng.uniform(0.3, 2.5)
            at_s += len(speech) / RATE_HZ + float(pause_s)
        if short and scene.sentences and scene.cut is None:
            scene.end_s = min(window_s, scene.sentences[-1][-1, 2] + float(rng.uniform(0.05, 1.5)))
        if phonemes:
            scene.phonemes = np.concatenate(phonemes)
        if rng.random() >= mixture.clean:
            self._degrade(scene)
        else:
            self._set_level(scene)
        return scene

    def sung(self, mixture: Mixture) -> Scene:
        """A stretch of a song's vocals, sometimes with its other stems quietly below."""
        rng, window_s = self.rng, mixture.seconds
        scene = Scene(np.zeros(round(window_s * RATE_HZ), np.float32), phonemes_known=False)
        song = self.songs[rng.integers(len(self.songs))]
        if not song.lines:
            return self.silent(window_s)
        first_line = 0 if window_s > 20 else int(rng.integers(len(song.lines)))
        before_s = song.lines[first_line - 1][-1, 2] if first_line else 0.0
        lead_s = min(song.lines[first_line][0, 1] - before_s, float(rng.uniform(0.02, 1.0)))
        from_s = max(0.0, float(song.lines[first_line][0, 1]) - max(0.0, lead_s))
        if window_s > 20 and rng.random() < 0.5:
            from_s = 0.0
        to_s = min(from_s + window_s, len(song.vocals) / RATE_HZ)
        for line in song.lines[first_line:]:
            moved = line - np.array([0, from_s, from_s], np.float32)
            if line[-1, 2] < to_s - 0.05:
                scene.sentences.append(moved)
            elif line[0, 1] < to_s - 0.3 and window_s > 20 and to_s - from_s > window_s - 0.1:
                scene.cut = moved
                break
            else:
                to_s = min(to_s, float(line[0, 1]))
                break
        span = slice(round(from_s * RATE_HZ), round(to_s * RATE_HZ))
        audio: Floats = np.asarray(song.vocals[span], np.float32) * np.float32(1 / 32768)
        if rng.random() < 0.5:
            backing: Floats = np.asarray(song.backing[span], np.float32) * np.float32(1 / 32768)
            audio = sound.add(audio, backing, float(rng.uniform(8, 30)))
        scene.audio[: len(audio)] = audio[: len(scene.audio)]
        if to_s - from_s < window_s - 0.5:
            scene.end_s = to_s - from_s
        self._set_level(scene)
        return scene

    def silent(self, seconds: float) -> Scene:
        """Silence, noise, music, or noise and music."""
        rng, samples = self.rng, round(seconds * RATE_HZ)
        audio = np.zeros(samples, np.float32)
        kind = rng.random()
        if 0.1 < kind < 0.6:
            audio = audio + sound.noise(rng, samples)
        if kind > 0.45 and self.songs:
            music = self.music(samples)
            level = sound.loudness(music)
            gain = float(rng.uniform(0.3, 3.0)) / level if level > 0 else 0.0
            audio = audio + np.float32(gain) * music
        scene = Scene(audio)
        if rng.random() < 0.5:
            scene.end_s = float(rng.uniform(0.1, seconds))
        self._set_level(scene)
        return scene

    def _degrade(self, scene: Scene) -> None:
        rng = self.rng
        if rng.random() < 0.3:
            scene.audio = sound.reverberate(scene.audio, rng)
        if rng.random() < 0.55:
            noise = sound.noise(rng, len(scene.audio))
            scene.audio = sound.add(scene.audio, noise, float(rng.uniform(5, 32)))
        if rng.random() < 0.35 and self.songs:
            music = self.music(len(scene.audio))
            scene.audio = sound.add(scene.audio, music, float(rng.uniform(6, 27)))
        self._set_level(scene)

    def _set_level(self, scene: Scene) -> None:
        peak = float(np.abs(scene.audio).max())
        if peak > 0:
            scene.audio = scene.audio * np.float32(10 ** self.rng.uniform(-1.4, 0.0) / peak)
        if scene.end_s is not None:
            scene.audio[round(scene.end_s * RATE_HZ) :] = 0.0

    def music(self, samples: int) -> Floats:
        """A stretch of a song without its vocals."""
        song = self.songs[self.rng.integers(len(self.songs))]
        first = int(self.rng.integers(max(1, len(song.backing) - samples + 1)))
        music = np.asarray(song.backing[first : first + samples], np.float32) / 32768
        return np.pad(music, (0, samples - len(music)))

    def _voice(self) -> str:
        return self.utterances[self.rng.integers(len(self.utterances))].voice

    def _utterance(self, voice: str | None) -> Utterance:
        among = self.by_voice[voice] if voice else self.drawn
        return among[self.rng.integers(len(among))]

    def _prompt(self) -> list[Floats]:
        """Earlier sentences with times, as a decoder passes them on from the window before."""
        sentences, at_s = [], 0.0
        for _ in range(int(self.rng.integers(1, 16))):
            words = self._utterance(None).words
            sentences.append(words + np.array([0, at_s, at_s], np.float32))
            at_s = float(sentences[-1][-1, 2]) + 0.5
        return sentences
