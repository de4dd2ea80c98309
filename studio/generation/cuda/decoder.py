"""The decoder of a MusicGen on a CUDA device: every step is one recorded graph of kernels.

A step of so few rows takes the device less time than it takes Python to start its kernels one by
one. They are therefore recorded once and replayed: caches of fixed size, positions kept on the
device, and the codes drawn there, so that nothing comes back to the host but finished codes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.generation.cuda.network import Network
from studio.generation.cuda.run import Key, Run
from studio.generation.model import CodecSpec, Codes, Decoder, Decoding, Flags, Logits, States
from studio.generation.sampling import Sampler, Sampling
from studio.generation.shape import Shape
from studio.inference.device_use import CpuFallback
from studio.inference.devices import is_device_failure, release_memory

# Steps from one copy of codes to the host to the next.
CHUNK_STEPS = 25
# Sizes are rounded up, so that a recorded graph serves most prompts.
PROMPT_STEP = 32
LENGTH_STEP = 64
# Idle runs whose caches and graph are kept for the next job.
KEPT_RUNS = 2


class CudaDecoder:
    """The decoder behind the `Decoder` protocol, in half precision. Any number of runs at once.

    `load_on_cpu` loads the decoder that takes over if the device has no memory for a run.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        spec: CodecSpec,
        device: str,
        load_on_cpu: Callable[[], Decoder],
    ) -> None:
        import torch

        self.network = Network(folder, shape, device, torch.float16)
        self.device = device
        self._fallback = CpuFallback(load_on_cpu)
        self._max_frames = spec.window_frames + max(spec.delays) + 1
        self._lock = Lock()
        self._idle: list[Run] = []

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        try:
            return self._begin(states, rows, guided)
        except RuntimeError as error:
            if not is_device_failure(error):
                raise
        # Outside of the handler: the error holds the tensors of the failed run.
        self._release()
        return self._begin(states, rows, guided)

    def on_cpu(self) -> Decoder:
        self._release()
        return self._fallback.get()

    def _release(self) -> None:
        with self._lock:
            self._idle.clear()
        # Without the lock: runs that are collected as garbage are given back, which takes it.
        release_memory()

    def rehearse(self, spec: CodecSpec) -> None:
        """Draw a few codes to find device failures early."""
        shape = self.network.shape
        states = np.zeros((2, PROMPT_STEP, shape.hidden), np.float32)
        grid = np.full((1, spec.codebooks, 3), spec.padding, np.int64)
        is_code = np.ones(grid.shape[1:], bool)
        for _ in self._begin(states, 1, True).fill(grid, is_code, 1, Sampler(Sampling(), 0, 1)):
            pass

    def _begin(self, states: States, rows: int, guided: bool) -> "CudaDecoding":
        repeated = np.repeat(states[: 1 + guided], rows, axis=0)
        prefix = repeated.shape[1] if self.network.shape.is_prefixed else 0
        tokens = _rounded(repeated.shape[1], PROMPT_STEP)
        key = (repeated.shape[0], tokens, _rounded(prefix + self._max_frames, LENGTH_STEP))
        return CudaDecoding(self, self._take(key), repeated, rows)

    def _take(self, key: Key) -> Run:
        with self._lock:
            for run in self._idle:
                if run.key == key:
                    self._idle.remove(run)
                    return run
        return Run(self.network, key)

    def give_back(self, run: Run) -> None:
        with self._lock:
            self._idle = [run, *self._idle][:KEPT_RUNS]


class CudaDecoding:
    """One run of the decoder; its buffers return to the decoder when it is deleted."""

    def __init__(self, decoder: CudaDecoder, run: Run, states: States, tracks: int) -> None:
        self._torch = decoder.network._torch
        self._decoder, self._run, self._tracks = decoder, run, tracks
        self._network = decoder.network
        self._length = 0
        self._stream = self._torch.cuda.Stream(self._network.device)
        with self._on_stream():
            moved = self._torch.from_numpy(states).to(self._network.device, self._network.number)
            self._prefix = moved.shape[1] if self._network.shape.is_prefixed else 0
            run.prefix.fill_(self._prefix)
            if self._prefix:
                run.append(moved, 0)
            else:
                run.attend(moved)

    def __del__(self) -> None:
        # A run that was canceled may still be busy.
        self._stream.synchronize()
        self._decoder.give_back(self._run)

    def _on_stream(self) -> Any:
        """Concurrent runs have streams of their own, so that the device serves all at once."""
        torch = self._torch
        self._stream.wait_stream(torch.cuda.current_stream(self._network.device))
        return _Context(torch.inference_mode(), torch.cuda.stream(self._stream))

    def __call__(self, tokens: Codes) -> Logits:
        with self._on_stream():
            hidden = self._append(tokens)
            logits: Logits = self._network.logits(hidden[:, -1]).cpu().numpy()
            return logits

    def _append(self, tokens: Codes) -> Any:
        """Run the layers over more tokens."""
        moved = self._torch.from_numpy(np.ascontiguousarray(tokens)).to(self._network.device)
        hidden = self._network.embed(moved)
        hidden = hidden.repeat(self._run.key[0] // tokens.shape[0], 1, 1)
        start = self._prefix + self._length
        self._length += tokens.shape[2]
        return self._run.append(hidden, start)

    def fill(self, grid: Codes, is_code: Flags, first: int, sampler: Sampler) -> Iterator[int]:
        """Draw the codes of `grid` from position `first` on, in place; yield finished positions."""
        run, torch = self._run, self._torch
        last = grid.shape[2]
        with self._on_stream():
            # Everything before the last known position is read at once.
            if first > 1:
                self._append(grid[:, :, : first - 1])
            draws = sampler.draws(last - first, grid.shape[1])
            run.grid[: self._tracks, :, :last].copy_(torch.from_numpy(grid))
            run.is_code[:, :last].copy_(torch.from_numpy(is_code))
            run.draws[: self._tracks, :, first:last].copy_(torch.from_numpy(draws))
            run.place.fill_(first - 1)
            graph = run.graph(self._tracks, sampler.sampling)
            # Recording ran a few steps, whose codes are drawn again.
            run.grid[: self._tracks, :, :last].copy_(torch.from_numpy(grid))
        waiting: list[tuple[int, Any, Any]] = []
        for start in range(first, last, CHUNK_STEPS):
            stop = min(last, start + CHUNK_STEPS)
            with self._on_stream():
                for _ in range(start, stop):
                    graph.replay()
                copied = torch.empty(
                    (*grid.shape[:2], stop - start), dtype=torch.int64, pin_memory=True
                )
                copied.copy_(run.grid[: self._tracks, :, start:stop], non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            waiting.append((start, copied, event))
            # The host reads a chunk while the device is busy with the next one.
            if len(waiting) > 1:
                yield from _read(grid, *waiting.pop(0))
        for chunk in waiting:
            yield from _read(grid, *chunk)


def _read(grid: Codes, start: int, copied: Any, event: Any) -> Iterator[int]:
    event.synchronize()
    codes = copied.numpy()
    grid[:, :, start : start + codes.shape[2]] = codes
    yield from range(start, start + codes.shape[2])


class _Context:
    """Several contexts in one `with`."""

    def __init__(self, *contexts: Any) -> None:
        self._contexts = contexts

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)


def _rounded(count: int, step: int) -> int:
    return -(-count // step) * step
