"""Runs a decoder over music of any length, in windows of its context length.

The context of the released models is 30 s: each window after the first gets the last 12 s and adds
18 s, as in audiocraft. The codec decodes all windows as one sequence of frames, without seams.

Within a window the codebooks are delayed (Copet et al. 2023, section 2.2): the code of frame t in a
codebook with delay d is at position t + d + 1; all other positions are padding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from studio.generation.model import CodecSpec, Codes, Decoder, Decoding, Flags, States
from studio.generation.sampling import Sampler
from studio.inference.device_use import OnDevice, current_use
from studio.inference.devices import is_device_failure

KEPT_SHARE = 0.4

Conditioning = Callable[[float], States]
"""The encoder states for a window that begins at a time in the codes, in seconds."""


@dataclass(frozen=True)
class Window:
    """Adds `frames` after the last `kept` frames; it begins at frame `start` of the codes."""

    start: int
    kept: int
    frames: int


def plan(spec: CodecSpec, frames: int, given: int = 0) -> list[Window]:
    """The windows that add `frames` after `given` existing frames."""
    size, kept = spec.window_frames, max_context_frames(spec)
    windows: list[Window] = []
    done = 0
    while done < frames:
        before = min(given + done, kept)
        added = min(size - before, frames - done)
        windows.append(Window(given + done - before, before, added))
        done += added
    return windows


def max_context_frames(spec: CodecSpec) -> int:
    """The number of earlier frames that a window gets as context."""
    return round(KEPT_SHARE * spec.window_frames)


def steps(spec: CodecSpec, windows: list[Window]) -> int:
    """The number of decoder steps for the windows."""
    return sum(window.frames + max(spec.delays) for window in windows)


@runtime_checkable
class Filling(Decoding, Protocol):
    """A run that samples codes itself, so that logits need not leave its device."""

    def fill(self, grid: Codes, is_code: Flags, first: int, sampler: Sampler) -> Iterator[int]:
        """Sample the codes of `grid` where `is_code`, in place, from position `first` on.

        Yields each finished position. The positions before `first` are the input of the run.
        """


@dataclass(frozen=True)
class Run:
    """The inputs of a run of windows; `given` are the last frames of the preceding music."""

    spec: CodecSpec
    decoder: Decoder
    conditioning: Conditioning
    windows: list[Window]
    given: Codes
    sampler: Sampler
    guided: bool

    def frames(self, on_step: Callable[[], None]) -> Iterator[Codes]:
        """Yield the new frames one by one; `on_step` is called after each step."""
        history = self.given
        for window in self.windows:
            new_frames: list[Codes] = []
            kept = history[:, :, history.shape[2] - window.kept :]
            for frame in self._window(window, kept, on_step):
                new_frames.append(frame)
                yield frame
            history = np.concatenate([kept, *new_frames], axis=2)

    def _window(self, window: Window, kept: Codes, on_step: Callable[[], None]) -> Iterator[Codes]:
        delays, first = self.spec.delays, window.kept + 1
        last = first + window.frames + max(delays)
        grid = np.full((kept.shape[0], kept.shape[1], last), self.spec.padding, np.int64)
        for codebook, delay in enumerate(delays):
            grid[:, codebook, 1 + delay : first + delay] = kept[:, codebook]
        start_s = window.start / self.spec.frames_per_s
        states = self.conditioning(start_s)
        starts = first + np.array(delays)
        positions = np.arange(last)
        is_code = (starts[:, None] <= positions) & (positions < starts[:, None] + window.frames)
        for position in self._filled(states, grid, is_code, first):
            on_step()
            frame = position - 1 - max(delays)
            if frame >= window.kept:
                places = frame + 1 + np.array(delays)
                yield grid[:, np.arange(len(delays)), places][:, :, None]

    def _filled(self, states: States, grid: Codes, is_code: Flags, first: int) -> Iterator[int]:
        """Sample the codes of `grid` from `first` on, in place; yield finished positions.

        If the device of the decoder fails, the CPU continues from the last finished position.
        """
        decoder, rows = self.decoder, grid.shape[0]
        try:
            for position in self._sampled(
                decoder.begin(states, rows, self.guided), grid, is_code, first
            ):
                first = position + 1
                yield position
            return
        except RuntimeError as error:
            if not isinstance(decoder, OnDevice) or not is_device_failure(error):
                raise
            current_use().fail(error, decoder.device)
        # Outside of the handler: the error holds the tensors of the failed run.
        decoding = decoder.on_cpu().begin(states, rows, self.guided)
        yield from self._sampled(decoding, grid, is_code, first)

    def _sampled(
        self, decoding: Decoding, grid: Codes, is_code: Flags, first: int
    ) -> Iterator[int]:
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
