"""Cuts an audio stream into windows for a speech engine, by voice activity or at quiet places.

A window joins adjacent speech regions and the pauses between them, as in WhisperX (Bain et al.
2023), so that few of the engine's 30 s passes are half empty. Only about the last minute of the
stream is in memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.voice_activity import speech_spans

WINDOW_S = 29.0
MAX_PAUSE_S = 5.0
# Voice activity is detected in pieces of this length; speech at the end of a piece is processed
# again with the next one.
PIECE_S = 60.0
MARGIN_S = 1.0
# The detector cuts a voice without a rest just before it is as long as a window, in the middle of
# words.
CUT_BY_LIMIT_S = WINDOW_S - 0.5
# Without a rest or voice activity detection, windows are cut at the quietest point of their last
# seconds.
QUIET_SEARCH_S = 10.0
QUIET_BLOCK_S = 0.1


@dataclass(frozen=True)
class Window:
    """A part of the recording to decode, which begins at `start_s`.

    An empty window only marks that everything before `start_s` is done.
    """

    start_s: float
    speech: Speech

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.speech) / RATE_HZ


def voiced_windows(blocks: Iterable[Speech]) -> Iterator[Window]:
    """Windows of at most WINDOW_S around speech."""
    held = np.zeros(0, np.float32)
    held_start = 0
    for block, is_last in _pieces(blocks, PIECE_S):
        held = np.concatenate([held, block])
        groups = _grouped(_cut_quietly(held, speech_spans(held, WINDOW_S)))
        keep_from = len(held)
        if not is_last:
            keep_from -= round(MARGIN_S * RATE_HZ)
            # The next piece may extend this window.
            if groups and groups[-1][1] > keep_from - MAX_PAUSE_S * RATE_HZ:
                keep_from = groups.pop()[0]
        for start, end in groups:
            yield Window((held_start + start) / RATE_HZ, held[start:end])
        held_start += keep_from
        held = held[keep_from:]
        yield Window(held_start / RATE_HZ, held[:0])


def all_windows(blocks: Iterable[Speech]) -> Iterator[Window]:
    """The whole recording in adjacent windows of at most WINDOW_S."""
    size = round(WINDOW_S * RATE_HZ)
    held = np.zeros(0, np.float32)
    held_start = 0
    for block, is_last in _pieces(blocks, WINDOW_S):
        held = np.concatenate([held, block])
        while len(held) > size or (is_last and len(held) > 0):
            cut = len(held) if len(held) <= size else _quietest(held[:size])
            yield Window(held_start / RATE_HZ, held[:cut])
            held_start += cut
            held = held[cut:]


def _cut_quietly(speech: Speech, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, but those that were cut by the limit are cut at quiet places."""
    voices: list[tuple[int, int]] = []
    is_cut = False
    for start, end in spans:
        if is_cut and start == voices[-1][1]:
            voices[-1] = (voices[-1][0], end)
        else:
            voices.append((start, end))
        is_cut = end - start > CUT_BY_LIMIT_S * RATE_HZ
    size = round(WINDOW_S * RATE_HZ)
    pieces: list[tuple[int, int]] = []
    for first, end in voices:
        start = first
        while end - start > size:
            cut = start + _quietest(speech[start : start + size])
            pieces.append((start, cut))
            start = cut
        pieces.append((start, end))
    return pieces


def _grouped(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join adjacent spans into windows."""
    groups: list[tuple[int, int]] = []
    for start, end in spans:
        if groups:
            first, last = groups[-1]
            if start - last <= MAX_PAUSE_S * RATE_HZ and end - first <= WINDOW_S * RATE_HZ:
                groups[-1] = (first, end)
                continue
        groups.append((start, end))
    return groups


def _pieces(blocks: Iterable[Speech], piece_s: float) -> Iterator[tuple[Speech, bool]]:
    """The stream in pieces of `piece_s`, each with whether it is the last one."""
    size = round(piece_s * RATE_HZ)
    parts: list[Speech] = []
    held = 0
    for block in blocks:
        parts.append(block)
        held += len(block)
        while held > size:
            whole = np.concatenate(parts)
            yield whole[:size], False
            parts, held = [whole[size:]], held - size
    yield (np.concatenate(parts) if parts else np.zeros(0, np.float32)), True


def _quietest(speech: Speech) -> int:
    """The middle of the quietest block near the end, in samples."""
    block = round(QUIET_BLOCK_S * RATE_HZ)
    count = round(QUIET_SEARCH_S / QUIET_BLOCK_S)
    tail = speech[len(speech) - count * block :].reshape(count, block)
    power = (tail.astype(np.float64) ** 2).mean(1)
    return len(speech) - count * block + int(power.argmin()) * block + block // 2
