"""Finds the words of an unfinished utterance that are probably final.

LocalAgreement-2 (Machacek, Dabre, Bojar 2023, "Turning Whisper into Real-Time Transcription
System"): a word is committed once two consecutive hypotheses agree on it and on all words before
it.
"""

import re
from collections.abc import Sequence

from studio.transcription.transcript import Word

# A hypothesis may place a word slightly before the end of the committed words.
TOLERANCE_S = 0.1
MAX_OVERLAP = 5


class Agreement:
    """The committed words of one utterance, and the rest of the last hypothesis."""

    def __init__(self) -> None:
        self.committed: list[Word] = []
        self.rest: list[Word] = []

    def update(self, hypothesis: Sequence[Word]) -> None:
        """Add a hypothesis for the whole utterance."""
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
        """The words of a hypothesis beyond the committed ones."""
        done = [plain(word.text) for word in self.committed]
        if [plain(word.text) for word in hypothesis[: len(done)]] == done:
            return hypothesis[len(done) :]
        # The committed words differ from this hypothesis, so take what follows them in time.
        end_s = self.committed[-1].end_s
        new = [word for word in hypothesis if word.start_s > end_s - TOLERANCE_S]
        for length in range(min(MAX_OVERLAP, len(new), len(done)), 0, -1):
            begins_early = new[0].start_s < end_s
            if begins_early and [plain(word.text) for word in new[:length]] == done[-length:]:
                return new[length:]
        return new


def plain(text: str) -> str:
    """A word in lower case without punctuation, for comparison."""
    return re.sub(r"[^\w']", "", text.lower())
