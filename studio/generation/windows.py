"""Runs a decoder over music of any length, in windows of what it has learnt to oversee.

The released models oversee 30 s: after the first window each further one is given the last 12 s and
adds 18 s, as in audiocraft. All windows together are one sequence of frames, which a codec decodes
without seeing where one ended.

Inside of a window the codebooks are delayed against each other (Copet et al. 2023, section 2.2):
the code of frame t in a codebook with delay d stands at position t + d + 1; padding is elsewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from studio.generation.model import CodecSpec, Codes, Decoder, Decoding, Flags, States
from studio.generation.sampling import Sampler

KEPT_SHARE = 0.4

Conditioning = Callable[[float], States]
"""The encoder states for a window that begins at a time, in seconds."""


@dataclass(frozen=True)
class Window:
    """Adds `frames` behind the last `kept` frames; it begins `start` frames into the music."""

    start: int
    kept: int
    frames: int


def plan(kind: CodecSpec, frames: int, given: int = 0) -> list[Window]:
    """The windows that add `frames` behind `given` ones, the last ones of the music before."""
    size, kept = kind.window_frames, max_context_frames(kind)
    windows: list[Window] = []
    done = 0
    while done < frames:
        before = min(given + done, kept)
        added = min(size - before, frames - done)
        windows.append(Window(given + done - before, before, added))
        done += added
    return windows


def max_context_frames(kind: CodecSpec) -> int:
    """The number of earlier frames that a window gets as context."""
    return round(KEPT_SHARE * kind.window_frames)


def steps(kind: CodecSpec, windows: list[Window]) -> int:
    """Steps of the decoder that the windows take."""
    return sum(window.frames + max(kind.delays) for window in windows)


@runtime_checkable
class Filling(Decoding, Protocol):
    """A run that draws codes by itself, so that logits need not leave its device."""

    def fill(self, grid: Codes, is_code: Flags, first: int, sampler: Sampler) -> Iterator[int]:
        """Draw the codes of `grid` where `is_code`, in place, from position `first` on.

        Yields each position once it is there. `grid` is what the run was given before `first`.
        """


@dataclass(frozen=True)
class Run:
    """All that a run of windows needs; `given` are the last frames of the music before it."""

    kind: CodecSpec
    decoder: Decoder
    conditioning: Conditioning
    windows: list[Window]
    given: Codes
    sampler: Sampler
    guided: bool

    def frames(self, on_step: Callable[[], None]) -> Iterator[Codes]:
        """Yield the new frames, one at a time; `on_step` is called after each step."""
        history = self.given
        for window in self.windows:
            found: list[Codes] = []
            kept = history[:, :, history.shape[2] - window.kept :]
            for frame in self._window(window, kept, on_step):
                found.append(frame)
                yield frame
            history = np.concatenate([kept, *found], axis=2)

    def _window(self, window: Window, kept: Codes, on_step: Callable[[], None]) -> Iterator[Codes]:
        delays, first = self.kind.delays, window.kept + 1
        last = first + window.frames + max(delays)
        grid = np.full((kept.shape[0], kept.shape[1], last), self.kind.padding, np.int64)
        for codebook, delay in enumerate(delays):
            grid[:, codebook, 1 + delay : first + delay] = kept[:, codebook]
        start_s = window.start / self.kind.frames_per_s
        decoding = self.decoder.begin(self.conditioning(start_s), kept.shape[0], self.guided)
        starts = first + np.array(delays)
        positions = np.arange(last)
        is_code = (starts[:, None] <= positions) & (positions < starts[:, None] + window.frames)
        for position in self._filled(decoding, grid, is_code, first):
            on_step()
            frame = position - 1 - max(delays)
            if frame >= window.kept:
                places = frame + 1 + np.array(delays)
                yield grid[:, np.arange(len(delays)), places][:, :, None]

    def _filled(self, decoding: Decoding, grid: Codes, is_code: Flags, first: int) -> Iterator[int]:
        """Draw the codes of `grid` from position `first` on, in place; yield finished positions."""
        if isinstance(decoding, Filling):
            yield from decoding.fill(grid, is_code, first, self.sampler)
            return
        tokens = grid[:, :, :first]
        for position in range(first, grid.shape[2]):
            chosen = self.sampler(decoding(tokens))
            drawn = is_code[:, position]
            grid[:, drawn, position] = chosen[:, drawn]
            yield position
            tokens = grid[:, :, position : position + 1]
