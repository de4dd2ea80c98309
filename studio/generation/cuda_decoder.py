"""The decoder of a MusicGen on a CUDA device: every step is one recorded graph of kernels.

A step of so few rows takes the device less time than it takes Python to start its kernels one by
one. They are therefore recorded once and replayed: caches of fixed size, positions kept on the
device, and the codes drawn there, so that nothing comes back to the host but finished codes.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.generation import parts
from studio.generation.model import CodecSpec, Codes, Decoder, Decoding, Flags, Logits, States
from studio.generation.openvino.conversion import MAX_PROMPT_TOKENS
from studio.generation.openvino.graph import EPSILON, Shape
from studio.generation.sampling import Sampler, Sampling
from studio.inference.devices import fallback_note, is_device_failure, release_memory

log = logging.getLogger(__name__)

# Steps from one copy of codes to the host to the next.
CHUNK_STEPS = 25
# Sizes are rounded up, so that a recorded graph serves most prompts.
PROMPT_STEP = 32
LENGTH_STEP = 64
# Idle runs whose caches and graph are kept for the next job.
KEPT_RUNS = 2
# One thread at a time records: while it does, the device takes no other new memory.
_recording = Lock()

Key = tuple[int, int, int]
"""What the arrays of a run are made for: rows, tokens of the prompt, positions."""


class CudaDecoder:
    """The decoder behind the `Decoder` protocol, in half precision. Any number of runs at once.

    Where the device has no memory for a run, the decoder that `fallback` gives takes over; `note`
    then says so.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        kind: CodecSpec,
        device: str,
        fallback: Callable[[], Decoder],
    ) -> None:
        import torch

        self.network = Network(folder, shape, device, torch.float16)
        self.note: str | None = None
        self._fallback = fallback
        self._on_cpu: Decoder | None = None
        self._most_frames = kind.window_frames + max(kind.delays) + 1
        self._lock = Lock()
        self._idle: list[Run] = []

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        try:
            return self._begin(states, rows, guided)
        except RuntimeError as error:
            if not is_device_failure(error):
                raise
            reason = fallback_note(error)
        with self._lock:
            self._idle.clear()
            release_memory()
        try:
            return self._begin(states, rows, guided)
        except RuntimeError as error:
            if not is_device_failure(error):
                raise
            log.warning("%s The CPU goes on.", reason)
        with self._lock:
            self.note = reason
            self._on_cpu = self._on_cpu or self._fallback()
            return self._on_cpu.begin(states, rows, guided)

    def rehearse(self, kind: CodecSpec) -> None:
        """Draw a few codes, so that what does not work on the device shows."""
        shape = self.network.shape
        states = np.zeros((2, PROMPT_STEP, shape.hidden), np.float32)
        grid = np.full((1, kind.codebooks, 3), kind.padding, np.int64)
        is_code = np.ones(grid.shape[1:], bool)
        for _ in self._begin(states, 1, True).fill(grid, is_code, 1, Sampler(Sampling(), 0, 1)):
            pass

    def _begin(self, states: States, rows: int, guided: bool) -> "CudaDecoding":
        repeated = np.repeat(states[: 1 + guided], rows, axis=0)
        prefix = repeated.shape[1] if self.network.shape.is_prefixed else 0
        tokens = _rounded(repeated.shape[1], PROMPT_STEP)
        key = (repeated.shape[0], tokens, _rounded(prefix + self._most_frames, LENGTH_STEP))
        return CudaDecoding(self, self._take(key), repeated, rows)

    def _take(self, key: Key) -> "Run":
        with self._lock:
            for run in self._idle:
                if run.key == key:
                    self._idle.remove(run)
                    return run
        return Run(self.network, key)

    def give_back(self, run: "Run") -> None:
        with self._lock:
            self._idle = [run, *self._idle][:KEPT_RUNS]


class Network:
    """The weights on the device as numbers of a kind (torch.float16), and the arithmetic."""

    def __init__(self, folder: Path, shape: Shape, device: str, number: Any) -> None:
        import torch
        from transformers.models.musicgen.modeling_musicgen import (
            MusicgenSinusoidalPositionalEmbedding,
        )

        self._torch = torch
        self.shape = shape
        self.device = device
        self.number = number
        self.head_size = shape.hidden // shape.heads
        state = parts.read_state(folder, "decoder.")

        def weight(*names: str) -> Any:
            stacked = torch.cat([state[name] for name in names])
            return stacked.to(device, number)

        codebooks = range(shape.codebooks)
        self.embeddings = weight(*(f"model.decoder.embed_tokens.{n}.weight" for n in codebooks))
        self.starts = torch.arange(shape.codebooks, device=device) * (shape.vocabulary + 1)
        positions = min(shape.positions, MAX_PROMPT_TOKENS + 4096)
        table = MusicgenSinusoidalPositionalEmbedding.get_embedding(positions, shape.hidden)
        self.positions = table.to(device, number)
        self.heads = weight(*(f"lm_heads.{n}.weight" for n in codebooks))
        self.last_norm = [weight(f"model.decoder.layer_norm.{part}") for part in NORM]
        self.layers = [
            _layer_weights(weight, f"model.decoder.layers.{n}.", shape.is_prefixed)
            for n in range(shape.layers)
        ]

    def embed(self, tokens: Any) -> Any:
        """int64 (rows, codebooks, length) -> (rows, length, hidden), without positions."""
        embedded = self._torch.nn.functional.embedding(
            tokens + self.starts[None, :, None], self.embeddings
        )
        return embedded.sum(dim=1)

    def cross_attention(self, layer: int, states: Any) -> tuple[Any, Any]:
        """Cross-attention keys and values of a layer for states (rows, tokens, hidden)."""
        linear = self._torch.nn.functional.linear
        key, value = linear(states, self.layers[layer]["cross"]).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def logits(self, hidden: Any) -> Any:
        """(rows, hidden) -> float32 (rows, codebooks, vocabulary)."""
        shape = self.shape
        scores = self._torch.nn.functional.linear(self._norm(hidden, self.last_norm), self.heads)
        return scores.view(-1, shape.codebooks, shape.vocabulary).float()

    def __call__(self, hidden: Any, run: "Run", places: Any, mask: Any) -> Any:
        """Run all layers over (rows, length, hidden) at `places`; their caches are filled there.

        `mask` (length, positions) is true where a state may look.
        """
        hidden = hidden + self.positions[places]
        for number, layer in enumerate(self.layers):
            hidden = self._layer(hidden, layer, number, run, places=places, mask=mask)
        return hidden

    def _layer(
        self, hidden: Any, layer: dict[str, Any], number: int, run: "Run", *, places: Any, mask: Any
    ) -> Any:
        functional = self._torch.nn.functional
        normed = self._norm(hidden, layer["norm"])
        query, key, value = functional.linear(normed, layer["qkv"]).chunk(3, dim=-1)
        keys, values = run.keys[number], run.values[number]
        keys.index_copy_(2, places, self._split(key))
        values.index_copy_(2, places, self._split(value))
        length = mask.shape[-1]
        attended = attention(self._split(query), keys[:, :, :length], values[:, :, :length], mask)
        hidden = hidden + functional.linear(self._joined(attended), layer["out"])
        if not self.shape.is_prefixed:
            normed = self._norm(hidden, layer["cross_norm"])
            query = self._split(functional.linear(normed, layer["cross_query"]))
            attended = attention(
                query, run.cross_keys[number], run.cross_values[number], run.cross_mask
            )
            hidden = hidden + functional.linear(self._joined(attended), layer["cross_out"])
        wide = functional.linear(self._norm(hidden, layer["last_norm"]), layer["wide"])
        wide = functional.gelu(wide) if self.shape.activation == "gelu" else functional.relu(wide)
        return hidden + functional.linear(wide, layer["narrow"])

    def _norm(self, values: Any, norm: list[Any]) -> Any:
        return self._torch.nn.functional.layer_norm(
            values, (self.shape.hidden,), norm[0], norm[1], EPSILON
        )

    def _split(self, values: Any) -> Any:
        """(rows, length, hidden) -> (rows, heads, length, head size)."""
        return values.unflatten(-1, (self.shape.heads, self.head_size)).transpose(1, 2)

    def _joined(self, values: Any) -> Any:
        return values.transpose(1, 2).flatten(2)


NORM = ("weight", "bias")


def attention(query: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Attention where `mask` is true; it must be so somewhere for every query."""
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def _layer_weights(weight: Any, name: str, is_prefixed: bool) -> dict[str, Any]:
    """The weights of one layer; matrices that multiply the same values are put together."""
    weights = {
        "norm": [weight(f"{name}self_attn_layer_norm.{part}") for part in NORM],
        "qkv": weight(*(f"{name}self_attn.{part}_proj.weight" for part in "qkv")),
        "out": weight(f"{name}self_attn.out_proj.weight"),
        "last_norm": [weight(f"{name}final_layer_norm.{part}") for part in NORM],
        "wide": weight(f"{name}fc1.weight"),
        "narrow": weight(f"{name}fc2.weight"),
    }
    if not is_prefixed:
        weights |= {
            "cross_norm": [weight(f"{name}encoder_attn_layer_norm.{part}") for part in NORM],
            "cross_query": weight(f"{name}encoder_attn.q_proj.weight"),
            "cross": weight(*(f"{name}encoder_attn.{part}_proj.weight" for part in "kv")),
            "cross_out": weight(f"{name}encoder_attn.out_proj.weight"),
        }
    return weights


class Run:
    """The arrays of one run on the device, which a recorded graph refers to, and its graphs."""

    def __init__(self, network: Network, key: Key) -> None:
        torch = network._torch
        self._torch, self._network, self.key = torch, network, key
        rows, tokens, length = key
        shape, device = network.shape, network.device
        sizes = (shape.layers, rows, shape.heads, length, network.head_size)
        kept = {"dtype": network.number, "device": device}
        self.keys, self.values = torch.zeros(sizes, **kept), torch.zeros(sizes, **kept)
        if not shape.is_prefixed:
            size = (shape.layers, rows, shape.heads, tokens, network.head_size)
            self.cross_keys, self.cross_values = (
                torch.zeros(size, **kept),
                torch.zeros(size, **kept),
            )
            self.cross_mask = torch.zeros((1, tokens), dtype=torch.bool, device=device)
        # What a step reads and writes: where it is, and the codes that are known or drawn.
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.prefix = torch.zeros(1, dtype=torch.int64, device=device)
        self._every = torch.arange(length, device=device)
        self.grid = torch.zeros((rows, shape.codebooks, length), dtype=torch.int64, device=device)
        self.is_code = torch.zeros((shape.codebooks, length), dtype=torch.bool, device=device)
        self.draws = torch.zeros(
            (rows, shape.codebooks, length), dtype=torch.float64, device=device
        )
        self._graphs: dict[tuple[int, Sampling], Any] = {}

    def attend(self, states: Any) -> None:
        """Set the encoder states (rows, tokens, hidden)."""
        count = states.shape[1]
        self.cross_mask[:] = self._every[: self.cross_mask.shape[1]] < count
        for layer in range(self._network.shape.layers):
            keys, values = self._network.cross_attention(layer, states)
            self.cross_keys[layer, :, :, :count] = keys
            self.cross_values[layer, :, :, :count] = values

    def append(self, hidden: Any, start: int) -> Any:
        """Run states (rows, length, hidden) at places from `start` on; the last layer's output."""
        stop = start + hidden.shape[1]
        places = self._every[start:stop]
        mask = self._every[:stop] <= places[:, None]
        return self._network(hidden, self, places, mask)

    def graph(self, tracks: int, sampling: Sampling) -> Any:
        """The recorded step for a number of tracks; recorded the first time."""
        key = (tracks, sampling)
        if key not in self._graphs:
            torch = self._torch
            place = self.place.clone()
            with _recording:
                # Kernels are chosen and workspaces made before; recording allows neither.
                for _ in range(2):
                    self._step(tracks, sampling)
                torch.cuda.current_stream().synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(
                    graph,
                    stream=torch.cuda.current_stream(),
                    capture_error_mode="thread_local",
                ):
                    self._step(tracks, sampling)
            self.place.copy_(place)
            self._graphs[key] = graph
        return self._graphs[key]

    def _step(self, tracks: int, sampling: Sampling) -> None:
        """Read the tokens at `place`, draw those behind it, and go on by one."""
        torch, network = self._torch, self._network
        after = self.place + 1
        hidden = network.embed(self.grid[:tracks].index_select(2, self.place))
        hidden = hidden.repeat(self.key[0] // tracks, 1, 1)
        where = self.place + self.prefix
        mask = (self._every <= where)[None]
        scores = network.logits(network(hidden, self, where, mask)[:, -1])
        chosen = choose(scores, self.draws[:tracks].index_select(2, after)[:, :, 0], sampling)
        known = self.grid[:tracks].index_select(2, after)
        is_code = self.is_code.index_select(1, after)[None]
        self.grid[:tracks].index_copy_(2, after, torch.where(is_code, chosen[:, :, None], known))
        self.place.copy_(after)


def choose(scores: Any, draws: Any, sampling: Sampling) -> Any:
    """What `Sampler` does, on tensors: the codes int64 (tracks, codebooks).

    `scores` are float32 (rows, codebooks, vocabulary), `draws` (tracks, codebooks).
    """
    import torch

    if sampling.is_guided:
        conditional, unconditional = scores.chunk(2)
        scores = unconditional + (conditional - unconditional) * sampling.guidance_scale
    if sampling.temperature == 0.0:
        return scores.argmax(dim=-1)
    size = scores.shape[-1]
    kept = min(sampling.top_k or size, size)
    values, order = torch.topk(scores / sampling.temperature, kept, dim=-1)
    values = values.double()
    weights = (values - values[..., :1]).exp()
    sums = weights.cumsum(dim=-1)
    inside = sums - weights < sampling.top_p * sums[..., -1:]
    total = torch.where(inside, sums, 0.0).amax(dim=-1)
    places = (sums <= (draws * total)[..., None]).sum(dim=-1, keepdim=True)
    places = torch.minimum(places, inside.sum(dim=-1, keepdim=True) - 1)
    return order.gather(-1, places)[..., 0]


class CudaDecoding:
    """One run of the decoder; its arrays go back to the decoder when it is no longer used."""

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
                found = torch.empty(
                    (*grid.shape[:2], stop - start), dtype=torch.int64, pin_memory=True
                )
                found.copy_(run.grid[: self._tracks, :, start:stop], non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            waiting.append((start, found, event))
            # The host reads a chunk while the device is busy with the next one.
            if len(waiting) > 1:
                yield from _read(grid, *waiting.pop(0))
        for chunk in waiting:
            yield from _read(grid, *chunk)


def _read(grid: Codes, start: int, found: Any, event: Any) -> Iterator[int]:
    event.synchronize()
    codes = found.numpy()
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
