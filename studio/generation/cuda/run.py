"""The arrays of one run on a CUDA device, and the step that is recorded over them."""

from collections import OrderedDict
from threading import Lock
from typing import Any

from studio.generation.cuda.network import Network
from studio.generation.sampling import Sampling

# One thread at a time records: while it does, the device takes no other new memory.
_recording = Lock()
# Requests choose the sampling, and a graph takes memory of the device.
MAX_GRAPHS = 4

Key = tuple[int, int, int]
"""What the arrays of a run are made for: rows, tokens of the prompt, positions."""


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
        self._graphs: OrderedDict[tuple[int, Sampling], Any] = OrderedDict()

    def attend(self, states: Any) -> None:
        """Set the encoder states (rows, tokens, hidden)."""
        count = states.shape[1]
        self.cross_mask[:, :count] = True
        self.cross_mask[:, count:] = False
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
        """The recorded step for a number of tracks; the last few that were used are kept."""
        key = (tracks, sampling)
        if key not in self._graphs:
            while len(self._graphs) >= MAX_GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[key] = self._recorded(tracks, sampling)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _recorded(self, tracks: int, sampling: Sampling) -> Any:
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
        return graph

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
    if sampling.is_greedy:
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
    # Scores that are not numbers are never inside, and a place outside breaks the CUDA device.
    places = torch.minimum(places, inside.sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return order.gather(-1, places)[..., 0]
