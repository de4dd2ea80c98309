"""Which words of an utterance that still goes on will probably stay.

LocalAgreement-2 (Machacek, Dabre, Bojar 2023, "Turning Whisper into Real-Time Transcription
System"): a word is committed once two hypotheses in a row agree on it and on all before it.
"""

import re
from collections.abc import Sequence

from studio.transcription.transcript import Word

# A hypothesis may place a word a little before the end of the committed ones.
TOLERANCE_S = 0.1
MAX_OVERLAP = 5


class Agreement:
    """The hypotheses of one utterance, the committed words and the rest."""

    def __init__(self) -> None:
        self.committed: list[Word] = []
        self.rest: list[Word] = []

    def update(self, hypothesis: Sequence[Word]) -> None:
        """Take the next hypothesis for the whole utterance."""
        new = self._beyond_committed(list(hypothesis))
        agreed = 0
        while (
            agreed < min(len(new), len(self.rest))
            and plain(new[agreed].text) == plain(self.rest[agreed].text)
        ):  # fmt: skip
            agreed += 1
        self.committed += new[:agreed]
        self.rest = new[agreed:]

    @property
    def words(self) -> list[Word]:
        return self.committed + self.rest

    def _beyond_committed(self, hypothesis: list[Word]) -> list[Word]:
        """The words of a hypothesis that are not committed yet."""
        done = [plain(word.text) for word in self.committed]
        if [plain(word.text) for word in hypothesis[: len(done)]] == done:
            return hypothesis[len(done) :]
        # It now tells the committed words otherwise: what follows them in time is new.
        end_s = self.committed[-1].end_s
        new = [word for word in hypothesis if word.start_s > end_s - TOLERANCE_S]
        for length in range(min(MAX_OVERLAP, len(new), len(done)), 0, -1):
            begins_early = new[0].start_s < end_s
            if begins_early and [plain(word.text) for word in new[:length]] == done[-length:]:
                return new[length:]
        return new


def plain(text: str) -> str:
    """A word without capitals and punctuation, to compare it with another."""
    return re.sub(r"[^\w']", "", text.lower())
