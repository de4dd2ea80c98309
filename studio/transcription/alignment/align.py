"""Aligns lyrics with a recording, pass by pass."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby

import numpy as np

from studio import audio
from studio.sources import Source
from studio.transcription.alignment.lyrics import Line, all_words
from studio.transcription.alignment.matching import Heard, Pair, heard_words, matched
from studio.transcription.alignment.onsets import Levels, on_onsets
from studio.transcription.alignment.plan import Pass, Plan
from studio.transcription.alignment.voice_time import VoiceTime
from studio.transcription.engine import RATE_HZ, Speech, SpeechEngine, TimedText
from studio.transcription.interruption import may_go_on
from studio.transcription.transcript import Segment, Word

# Below these mean probabilities, words without room and lines of which no word was heard are taken
# as not said.
MIN_PROBABILITY = 0.1
MIN_LINE_PROBABILITY = 0.01
# Beyond this distance, the time at which a word was heard is more reliable than its alignment.
MAX_APART_S = 0.3
SHORTEST_PASS_S = 0.1
# Passes begin with words of the one before.
KEPT_S = 8.0

Placed = TimedText | None


def aligned(
    engine: SpeechEngine,
    source: Source,
    lines: Sequence[Line],
    segments: Sequence[Segment],
    language: str,
    *,
    levels: Levels | None,
) -> Iterator[tuple[list[Segment], float]]:
    """Yield the lines of lyrics as segments, in order, and how far the recording is done.

    `segments` are what the model heard in the recording, with the times of words. Give the `levels`
    of the recording if it is a voice without accompaniment. Its lines all come at the end, because
    words may still be moved to other onsets.
    """
    words = all_words(lines)
    heard = heard_words(segments)
    voice = VoiceTime(levels, source.duration_s)
    pairs = matched(words, heard, voice)
    writer = LineWriter(lines)
    # Nothing is known of the times if nothing was heard.
    if not any(pair.first >= 0 for pair in pairs):
        yield writer.write([None] * len(words)), source.duration_s
        return

    plan = Plan(lines, pairs, heard, voice)
    with closing(_Reader(source)) as reader:
        aligner = _Aligner(engine, reader, plan, pairs, heard, language=language)
        begun_s: list[float] = []
        placed: list[Placed] = []
        while len(begun_s) < len(words):
            may_go_on()
            part = plan.next(len(begun_s), begun_s)
            times = aligner.run(part)
            for one in times:
                begun_s.append(one.start_s if one else begun_s[-1] if begun_s else 0.0)
            placed += times
            yield writer.write(times) if levels is None else [], part.end_s
    if levels is not None:
        yield writer.write(on_onsets(placed, aligner.doubtful, lines, levels)), source.duration_s


class _Aligner:
    """Aligns the words of a pass, and decides which of them were said.

    `doubtful` has the times of words that were left out because there is no room for them.
    """

    def __init__(
        self,
        engine: SpeechEngine,
        reader: "_Reader",
        plan: Plan,
        pairs: Sequence[Pair],
        heard: Sequence[Heard],
        *,
        language: str,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._plan = plan
        self._pairs = pairs
        self._heard = heard
        self._language = language
        self.doubtful: dict[int, TimedText] = {}

    def run(self, part: Pass) -> list[Placed]:
        """The times of the words of a pass, at least of the first one."""
        if part.end_s - part.start_s < SHORTEST_PASS_S:
            return [None] * (part.last - part.first + 1)
        speech = self._reader.read(part.start_s, part.end_s)
        times = self._align(part, speech)
        cramped = self._cramped(times)
        disproved = self._improbable_lines(part, times)
        self.doubtful |= {place: times[place] for place in cramped - disproved}
        unsaid = cramped | disproved
        # Words that were not said take the time of those around them.
        if unsaid:
            times = self._align(part.without(unsaid), speech)
        last = max(times, default=part.last)
        return [times.get(place) for place in range(part.first, max(last, *unsaid, -1) + 1)]

    def _align(self, part: Pass, speech: Speech) -> dict[int, TimedText]:
        """The times of words by their index, in the time of the recording."""
        texts = [text.text for text in part.texts]
        aligned_times = self._engine.align(speech, texts, self._language)
        times = {
            text.word: TimedText(
                min(part.start_s + one.start_s, part.end_s),
                min(part.start_s + one.end_s, part.end_s),
                one.probability,
            )
            for text, one in zip(part.texts, aligned_times, strict=False)
            if text.word >= part.first
        }
        times = {place: self._as_heard(place, one) for place, one in times.items()}
        if part.heard_s is not None and (first := times.get(part.first)):
            times[part.first] = replace(first, start_s=min(part.heard_s, first.end_s))
        return times

    def _as_heard(self, place: int, time: TimedText) -> TimedText:
        """The time at which the model heard a word, if the alignment is far from it.

        Where it heard another word, that is more reliable than an improbable alignment only.
        """
        pair = self._pairs[place]
        is_improbable = pair.first >= 0 and time.probability < MIN_LINE_PROBABILITY
        if not pair.is_equal and not is_improbable:
            return time
        start_s, end_s = self._heard[pair.first].start_s, self._heard[pair.last].end_s
        if abs(start_s - time.start_s) <= MAX_APART_S:
            return time
        return replace(time, start_s=start_s, end_s=end_s)

    def _improbable_lines(self, part: Pass, times: Mapping[int, TimedText]) -> set[int]:
        """The words of lines that are improbable, and of which no word was heard."""
        unsaid: set[int] = set()
        for line in self._plan.lines_of(part):
            known = [place for place in line if place in times]
            was_heard = any(self._pairs[place].is_equal for place in known)
            if known and not was_heard and self._mean(known, times) < MIN_LINE_PROBABILITY:
                unsaid.update(known)
        return unsaid

    def _cramped(self, times: Mapping[int, TimedText]) -> set[int]:
        """Words of which nothing was heard, without room between those that were."""
        unsaid: set[int] = set()
        for is_heard, run in groupby(sorted(times), lambda place: self._pairs[place].first >= 0):
            places = list(run)
            if (
                not is_heard
                and self._plan.is_too_short(places)
                and self._mean(places, times) < MIN_PROBABILITY
            ):
                unsaid.update(places)
        return unsaid

    @staticmethod
    def _mean(places: Sequence[int], times: Mapping[int, TimedText]) -> float:
        return float(np.mean([times[place].probability for place in places]))


class LineWriter:
    """Collects the times of words until a line is complete."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = list(lines)
        self._times: list[Placed] = []
        self._at_s = 0.0

    def write(self, times: Iterable[Placed]) -> list[Segment]:
        """Add the times of the next words; the lines that are complete now."""
        self._times += times
        written = []
        while self._lines and len(self._lines[0].words) <= len(self._times):
            line = self._lines.pop(0)
            count = len(line.words)
            written.append(self._segment(line, self._times[:count]))
            del self._times[:count]
        return written

    def _segment(self, line: Line, times: Sequence[Placed]) -> Segment:
        # Words that were moved to where they were heard may begin before the line in front ends.
        start_s = max(self._at_s, next((round(one.start_s, 3) for one in times if one), 0.0))
        words = [self._word(text, one) for text, one in zip(line.words, times, strict=True)]
        return Segment(
            start_s,
            self._at_s,
            line.text,
            tuple(words),
            placed=any(times),
            blank_lines_before=line.blank_lines_before,
        )

    def _word(self, text: str, time: Placed) -> Word:
        if time is None:
            return Word(text, self._at_s, self._at_s, 0.0, placed=False)
        start_s = max(self._at_s, round(time.start_s, 3))
        self._at_s = max(start_s, round(time.end_s, 3))
        return Word(text, start_s, self._at_s, round(time.probability, 4))


class _Reader:
    """Reads parts of a recording in order; keeps the last half minute in memory."""

    def __init__(self, source: Source) -> None:
        self._blocks = audio.decode(source.path, RATE_HZ, 1, source.duration_s)
        self._held = np.zeros(0, np.float32)
        self._held_from = 0

    def close(self) -> None:
        self._blocks.close()

    def read(self, start_s: float, end_s: float) -> Speech:
        """The samples of a part, which begins at most KEPT_S before that of the call before."""
        start, end = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
        keep_from = start - round(KEPT_S * RATE_HZ)
        self._forget(keep_from)
        parts = [self._held]
        known = self._held_from + len(self._held)
        while known < end and (block := next(self._blocks, None)) is not None:
            may_go_on()
            known += block.shape[1]
            parts.append(block[0])
            if known <= keep_from:
                parts, self._held_from = [], known
        self._held = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        self._forget(keep_from)
        part: Speech = self._held[max(0, start - self._held_from) : end - self._held_from]
        return part

    def _forget(self, start: int) -> None:
        passed = min(max(0, start - self._held_from), len(self._held))
        self._held = self._held[passed:]
        self._held_from += passed
