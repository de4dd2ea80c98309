"""What is said and who says it: the closed vocabulary, the sentences and the voices.

Sentences are made of the words in SPOKEN; the other words of VOCABULARY occur in songs, a few of
them nowhere: their places are kept, so that weights and data that exist stay usable.

Voices for the evaluation use espeak-ng variants that no training utterance uses, and sentences
for the evaluation are never said in training.
"""

from __future__ import annotations

import numpy as np

from ..voices import WORDS as SUNG_WORDS

DIGITS = "zero one two three four five six seven eight nine ten"
COLOURS = "red green blue yellow orange purple white black brown pink grey"
SPELLING = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar "
    "papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"
)
COMMANDS = (
    "start stop play pause go left right up down open close yes no on off loud quiet next back "
    "faster slower begin finish save record turn please volume music song drums bass voice"
)
# Commands that sound too much like other words for so small a model: they are not spoken.
_TOO_ALIKE = "go right up down close yes no on off loud back begin save turn bass voice"
VOCABULARY = tuple(dict.fromkeys(f"{DIGITS} {COLOURS} {SPELLING} {COMMANDS} {SUNG_WORDS}".split()))
WORD_IDS = {word: index for index, word in enumerate(VOCABULARY)}
SPOKEN = tuple(
    word
    for word in dict.fromkeys(f"{DIGITS} {COLOURS} {SPELLING} {COMMANDS}".split())
    if word not in _TOO_ALIKE.split()
)
MAX_WORDS = 12

ACCENTS = [
    "en-us",
    "en-us",
    "en-us",
    "en",
    "en",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
]
TRAIN_VARIANTS = [
    "m1",
    "m2",
    "m3",
    "m5",
    "m7",
    "m8",
    "f1",
    "f2",
    "f4",
    "Andy",
    "Annie",
    "adam",
    "Alex",
    "Andrea",
    "antonio",
    "aunty",
    "belinda",
    "boris",
    "caleb",
    "david",
    "Denis",
    "Diogo",
    "ed",
    "edward",
    "Gene",
    "Gene2",
    "grandma",
    "grandpa",
    "gustave",
    "Henrique",
    "Hugo",
    "iven",
    "iven2",
    "iven3",
    "Jacky",
    "john",
    "kaukovalta",
    "klatt",
    "klatt2",
    "klatt3",
    "Lee",
    "linda",
    "marcelo",
    "Marco",
    "Mario",
    "max",
    "Michael",
    "michel",
    "miguel",
    "Mike",
    "norbert",
    "Nguyen",
    "pablo",
    "paul",
    "pedro",
    "RicishayMax",
    "RicishayMax3",
    "rob",
    "sandro",
    "shelby",
    "steph",
    "Storm",
    "travis",
    "Tweaky",
    "victor",
    "anika",
    "AnxiousAndy",
]
HELD_OUT_VARIANTS = [
    "m4",
    "m6",
    "robert",
    "benjamin",
    "quincy",
    "f3",
    "f5",
    "Alicia",
    "steph2",
    "steph3",
    "zac",
    "iven4",
]


def variants(held_out: bool) -> list[str]:
    """The espeak-ng variants of a split."""
    return HELD_OUT_VARIANTS if held_out else TRAIN_VARIANTS


def draw_sentence(rng: np.random.Generator, held_out: bool) -> list[str]:
    """Draw 1 to 12 words; the sentences of the two splits are disjoint from two words on."""
    while True:
        count = int(rng.integers(1, MAX_WORDS + 1))
        words = [str(word) for word in rng.choice(SPOKEN, count)]
        if count == 1 or is_held_out(words) == held_out:
            return words


def is_held_out(words: list[str]) -> bool:
    """Whether a sentence belongs to the evaluation: one in eight does, by its words."""
    total = sum((place + 1) * WORD_IDS[word] for place, word in enumerate(words))
    return total % 8 == 0


def draw_voice(rng: np.random.Generator, held_out: bool) -> str:
    """An espeak-ng voice name: an accent and a variant of the split."""
    names = variants(held_out)
    return f"{ACCENTS[rng.integers(len(ACCENTS))]}+{names[rng.integers(len(names))]}"
