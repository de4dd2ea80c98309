"""What a prompt can ask for, how it is said, and which combinations are held out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Each value with the words that may name it; the first one is its name.
FAMILIES = ("piano", "organ", "guitar", "synth")
TEMPOS = {"slow": ("slow", "calm"), "medium": ("medium", "moderate"), "fast": ("fast", "quick")}
MOODS = {"major": ("major", "happy"), "minor": ("minor", "sad")}
REGISTERS = {"low": ("low", "deep"), "middle": ("middle", "mid"), "high": ("high", "treble")}
DRUMS = {
    True: ("with drums", "and drums", "with a drum beat"),
    False: ("without drums", "no drums", "without any drums"),
}
HELD_OUT_COUNT = 36
OMITTED = 0.15
STRANGE = 0.03
UNKNOWN_WORD = "[unk]"

_PHRASES = (
    "{tempo} {mood} {family} music in the {register} register {drums}",
    "a {tempo} {family} tune in a {mood} key, {register} register, {drums}",
    "{mood} {family}, {tempo} tempo, {register} notes, {drums}",
    "{drums}: a {register} {family} plays a {tempo} {mood} melody",
    "{family} {drums}, {register}, {mood}, {tempo}",
    "a {mood} piece for {register} {family} at a {tempo} tempo {drums}",
)


class Combination(NamedTuple):
    """One value of everything that a prompt can ask for."""

    family: str
    tempo: str
    mood: str
    drums: bool
    register: str


@dataclass(frozen=True)
class Split:
    """The combinations that are trained on, and those that are not."""

    train: tuple[Combination, ...]
    held_out: tuple[Combination, ...]


def split_combinations() -> Split:
    """All combinations, split by a fixed draw."""
    everything = [
        Combination(*values)
        for values in itertools.product(FAMILIES, TEMPOS, MOODS, DRUMS, REGISTERS)
    ]
    order = np.random.default_rng(6).permutation(len(everything))
    drawn = [everything[index] for index in order]
    return Split(tuple(drawn[HELD_OUT_COUNT:]), tuple(drawn[:HELD_OUT_COUNT]))


def say(combination: Combination, rng: np.random.Generator) -> str:
    """A prompt that asks for all of a combination."""
    return str(rng.choice(_PHRASES)).format(**_words(combination, rng))


def say_for_training(combination: Combination, rng: np.random.Generator) -> str:
    """Like `say`; some prompts leave things out, and now and then a word is an unknown one."""
    if rng.random() < 0.75:
        text = say(combination, rng)
    else:
        words = _words(combination, rng)
        kept = [word for word in words.values() if rng.random() >= OMITTED]
        text = ", ".join(str(word) for word in rng.permutation(kept))
    return " ".join(UNKNOWN_WORD if rng.random() < STRANGE else word for word in text.split())


def _words(combination: Combination, rng: np.random.Generator) -> dict[str, str]:
    """One wording of each value, by the names in the phrases."""
    return {
        "family": combination.family,
        "tempo": str(rng.choice(TEMPOS[combination.tempo])),
        "mood": str(rng.choice(MOODS[combination.mood])),
        "drums": str(rng.choice(DRUMS[combination.drums])),
        "register": str(rng.choice(REGISTERS[combination.register])),
    }


def vocabulary() -> list[str]:
    """Every word that a prompt can hold, in alphabetical order."""
    texts = [
        phrase.format(family="", tempo="", mood="", drums="", register="") for phrase in _PHRASES
    ]
    for group in (TEMPOS, MOODS, REGISTERS, DRUMS):
        texts += [text for wordings in group.values() for text in wordings]
    letters = "".join(character if character.isalpha() else " " for character in " ".join(texts))
    return sorted({*letters.split(), *FAMILIES})
