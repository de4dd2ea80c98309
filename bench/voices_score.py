"""Words wrong, and runs of words lost, by Whisper's own normaliser of texts."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scripts.scores import edits

LOST_RUN = 3
# Whisper's normaliser writes numbers in digits in English only.
DIGITS = {
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "ru": "ноль один два три четыре пять шесть семь восемь девять",
}

Words = list[str]


def normaliser(language: str) -> Callable[[str], Words]:
    """The words of a text as Radford et al. 2022 compare them, appendix C.

    Words for the numbers 0 to 9 equal their digits in all languages, not only in English.
    """
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    digits = {word: str(digit) for digit, word in enumerate(DIGITS.get(language, "").split())}
    return lambda text: [digits.get(word, word) for word in normalise(text).split()]


def lost_runs(true: Words, said: Words, kept: Words | None = None) -> list[Words]:
    """Runs of LOST_RUN or more true words that a text lacks, though the text `kept` has them."""
    runs = []
    matcher = difflib.SequenceMatcher(None, true, said, autojunk=False)
    for kind, start, end, *_ in matcher.get_opcodes():
        run = true[start:end]
        if kind == "delete" and len(run) >= LOST_RUN and (kept is None or _contains(kept, run)):
            runs.append(run)
    return runs


def _contains(words: Words, run: Words) -> bool:
    return any(words[at : at + len(run)] == run for at in range(len(words) - len(run) + 1))


@dataclass(frozen=True)
class Score:
    """Texts against what was read: words wrong, all words, runs lost, and the words said."""

    wrong: int
    words: int
    lost: int
    said: list[Words]

    @classmethod
    def of(
        cls, true: Sequence[Words], said: Sequence[Words], kept: Sequence[Words] | None
    ) -> "Score":
        """Compare texts one by one; `kept` are those of the reference."""
        others: Sequence[Words | None] = kept or [None] * len(true)
        lost = [lost_runs(*texts) for texts in zip(true, said, others, strict=True)]
        return cls(
            sum(edits(*texts) for texts in zip(true, said, strict=True)),
            sum(map(len, true)),
            sum(map(len, lost)),
            list(said),
        )

    @property
    def percent(self) -> float:
        return 100 * self.wrong / self.words

    @property
    def text(self) -> str:
        return f"{self.percent:.1f} % ({self.lost})"


def total(scores: Iterable[Score]) -> Score:
    """The score of several texts together, without their words."""
    every = list(scores)
    wrong, words, lost = (
        sum(numbers) for numbers in zip(*((s.wrong, s.words, s.lost) for s in every), strict=True)
    )
    return Score(wrong, words, lost, [])
