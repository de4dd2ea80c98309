"""Whisper's networks on OpenVINO, with the interface that the search needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.inference.graph_cache import RELEASED_WHOLE
from studio.inference.openvino_import import compile_graph, import_openvino
from studio.transcription.openvino.alignment import alignment_heads, attention
from studio.transcription.openvino.conversion import Precision, networks
from studio.transcription.openvino.graph import STATES, cross_attention_name, query_name
from studio.transcription.openvino.logits import Floats, Integers, Scores
from studio.transcription.openvino.weights import MODEL_FILE, from_bf16, read_weights

# Upper bounds for the cross-attention cache and the rows per step. Beyond them memory grows and
# speed does not; further windows are decoded afterwards.
MAX_CROSS_ATTENTION_BYTES = 256 * 2**20
MAX_ROWS = 24
# One for files and one for live sessions. More are created on demand and not kept.
MAX_FREE_SLOTS = 2


class Networks:
    """The compiled networks of a CTranslate2 directory. Thread-safe.

    `threads` is the number of inference threads (0: OpenVINO's choice). `end` is the token that
    ends a text. Large graphs are stored in `graphs`. Raises NotReadable, LookupError, ValueError or
    RuntimeError if the weights are not supported.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        *,
        threads: int,
        end: int,
        graphs: Path | None,
        has_encoder: bool = True,
    ) -> None:
        encoder, decoder = read_weights(folder / MODEL_FILE)
        self.mels = encoder.shape("conv1/weight")[1]
        self._embeddings = decoder.table("embeddings/weight")
        self._positions = decoder.floats("position_encodings/encodings")
        self.layers = decoder.layers
        self.width = decoder.shape("layer_norm/gamma")[0]
        self.heads = decoder.number("num_heads")
        self.vocabulary = decoder.shape("embeddings/weight")[0]
        self.alignment_heads = alignment_heads(folder, self.layers, self.heads)
        self.end = end
        self.no_bias: Floats = np.zeros((1, self.vocabulary), np.float32)
        self._threads = threads
        graph_of = networks(folder, precision, end, graphs)
        self._encoding: Request | None = None
        if has_encoder:
            bits, kind = precision.encoder_bits, precision.encoder_kind
            self._encoding = Request(self._compiled(graph_of("encoder"), bits, kind))
        bits, self._kind = precision.decoder_bits, precision.decoder_kind
        self._cross_attention = self._compiled(graph_of("cross_attention"), bits, self._kind)
        self._decoder = self._compiled(graph_of("decoder"), bits, self._kind, RELEASED_WHOLE)
        # In bf16, probable tokens would get equal scores.
        self._head = self._compiled(graph_of("head"), bits, "f32")
        self._lock = Lock()
        self._free: SimpleQueue[RequestSlot] = SimpleQueue()

    def max_windows(self, hypotheses: int) -> int:
        """How many windows to decode at the same time."""
        each = 2 * self.layers * STATES * self.width * self._element.itemsize
        return max(1, min(MAX_CROSS_ATTENTION_BYTES // each, MAX_ROWS // hypotheses))

    def encode(self, features: Floats) -> Floats:
        """Log-mel windows float32 (windows, mels, FRAMES) to states (windows, STATES, width)."""
        return np.concatenate([self._encode(one[None]) for one in features])

    def _encode(self, features: Floats) -> Floats:
        assert self._encoding is not None
        with self._lock:
            self._encoding.give("features", features)
            self._encoding.infer()
            return self._encoding.read("states")

    @property
    def _element(self) -> np.dtype[Any]:
        """The type of stored keys and values; NumPy has no bf16."""
        return np.dtype(np.uint16 if self._kind == "bf16" else np.float32)

    def _compiled(
        self, graph: Any, bits: int, kind: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": kind,
            "KV_CACHE_PRECISION": kind,
            "PERFORMANCE_HINT": "LATENCY",
            # One scale per row of activations, as in CTranslate2.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.width if bits < 32 else 0,
            **more,
        }
        if self._threads:
            settings["INFERENCE_NUM_THREADS"] = self._threads
        return compile_graph(graph, settings)

    def take_slot(self) -> "RequestSlot":
        """A slot for one run of the decoder; return it with `give_back`."""
        try:
            return self._free.get_nowait()
        except Empty:
            return RequestSlot(
                Request(self._cross_attention), Request(self._decoder), Request(self._head)
            )

    def give_back(self, slot: "RequestSlot") -> None:
        slot.decoder.forget()
        if self._free.qsize() < MAX_FREE_SLOTS:
            self._free.put(slot)

    def attend(self, states: Floats, slot: "RequestSlot") -> None:
        """Compute the cross-attention of all layers for (windows, STATES, width) into a slot."""
        shape = (len(states), self.heads, STATES, self.width // self.heads)
        if len(states) > slot.max_windows:
            slot.max_windows = len(states)
            slot.cross_attention = {
                cross_attention_name(layer, part): np.empty(shape, self._element)
                for layer in range(self.layers)
                for part in "kv"
            }
        # One window at a time: together they do not fit into the CPU cache.
        for number in range(len(states)):
            for name, values in slot.cross_attention.items():
                slot.attention.share(name, self.tensor_of(values[number : number + 1]))
            slot.attention.give("states", states[number : number + 1])
            slot.attention.infer()

    def tensor_of(self, values: npt.NDArray[Any]) -> Any:
        """A tensor that shares the memory of stored keys or values."""
        openvino = import_openvino()
        kind = getattr(openvino.Type, self._kind)
        return openvino.Tensor(values, openvino.Shape(list(values.shape)), kind)

    def embed(self, tokens: Integers, start: int) -> Floats:
        """Embed tokens (rows, length) at the positions from `start` on -> (rows, length, width)."""
        positions = self._positions[start : start + tokens.shape[1]]
        return self._embeddings.rows(tokens) + positions


class Request:
    """An inference request of a compiled network, with its inputs."""

    def __init__(self, network: Any) -> None:
        self._request = network.create_infer_request()
        self._given: dict[str, npt.NDArray[Any]] = {}

    def give(self, name: str, values: npt.NDArray[Any]) -> None:
        """Copy an input."""
        openvino = import_openvino()
        kept = self._given.get(name)
        if kept is not None and kept.shape == values.shape:
            kept[...] = values
        else:
            self._given[name] = kept = np.array(values, order="C")
            self._request.set_tensor(name, openvino.Tensor(kept, shared_memory=True))

    def share(self, name: str, tensor: Any) -> None:
        """Use the caller's memory for an input or output; the caller must keep it alive."""
        self._request.set_tensor(name, tensor)

    def infer(self) -> None:
        self._request.infer(share_outputs=True)

    def read(self, name: str) -> npt.NDArray[Any]:
        return np.array(self._request.get_tensor(name).data)

    def forget(self) -> None:
        """Empty the state of the network."""
        self._request.reset_state()


@dataclass
class RequestSlot:
    """The requests of one run, and reused memory, because allocating it is slow.

    `cross_attention` has arrays (windows, heads, STATES, head size) by the names of their inputs.
    """

    attention: Request
    decoder: Request
    head: Request
    max_windows: int = 0
    cross_attention: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


class Decoding:
    """One run of the decoder over windows with prompts of equal length; a context manager."""

    def __init__(self, networks: Networks, states: Floats) -> None:
        self._networks = networks
        self._states = states
        self._length = 0
        self.no_bias = networks.no_bias
        self._bias: Floats | None = None

    def __enter__(self) -> "Decoding":
        self._slot = self._networks.take_slot()
        self._networks.attend(self._states, self._slot)
        self._set_windows(len(self._states))
        return self

    def __exit__(self, *_: object) -> None:
        self._networks.give_back(self._slot)

    def _set_windows(self, windows: int) -> None:
        self._windows = windows
        for name, values in self._slot.cross_attention.items():
            self._slot.decoder.share(name, self._networks.tensor_of(values[:windows]))

    def keep(self, windows: Integers) -> None:
        """Continue with some of the windows, in order; the next parents are rows of those."""
        for values in self._slot.cross_attention.values():
            for number, window in enumerate(windows):
                if number != window:
                    values[number] = values[window]
        self._set_windows(len(windows))

    def step(self, tokens: Integers, parents: Integers, wanted: Integers | None = None) -> Floats:
        """Append tokens (rows, length) and return states (rows, wanted, width).

        Rows are hypotheses, the same number for each window; `parents` gives the row of the
        previous step that each row continues. `wanted` are token positions, by default the last.
        """
        rows, added = tokens.shape
        total = self._length + added
        future = np.triu(np.ones((added, total), bool), self._length + 1)
        mask = np.where(future, np.finfo(np.float32).min, np.float32(0.0))
        wanted = np.array([added - 1]) if wanted is None else wanted
        decoder = self._slot.decoder
        given = {
            "embedded": self._networks.embed(tokens, self._length),
            # With bf16, OpenVINO applies a shared mask correctly only to the first row.
            "mask": np.broadcast_to(mask, (rows, 1, added, total)),
            "parents": parents.astype(np.int32),
            "wanted": wanted.astype(np.int64),
            "windows": np.array([self._windows], np.int64),
        }
        for name, values in given.items():
            decoder.give(name, values)
        decoder.infer()
        self._length = total
        return decoder.read("hidden")

    def scores(self, hidden: Floats, bias: Floats) -> Scores:
        """Token scores after states (rows, width), plus a bias (rows or 1, vocabulary)."""
        head = self._score(hidden, bias, np.zeros(len(hidden), np.int64))
        best, places, total, rest = map(head.read, ("best", "places", "total", "rest"))
        return Scores(self._networks.end, best, places.astype(np.int64), total[:, 0], rest)

    def log_probabilities(self, hidden: Floats, tokens: Integers) -> Floats:
        """The log probability of a text token after each state (rows, width), among text tokens."""
        parts = []
        for start in range(0, len(tokens), MAX_ROWS):
            part = slice(start, start + MAX_ROWS)
            head = self._score(hidden[part], self.no_bias, tokens[part])
            parts.append((head.read("chosen") - head.read("total"))[:, 0])
        return np.concatenate(parts)

    def _score(self, hidden: Floats, bias: Floats, tokens: Integers) -> "Request":
        head = self._slot.head
        head.give("hidden", hidden)
        head.give("tokens", tokens[:, None])
        if bias is not self._bias:
            head.give("bias", bias)
            self._bias = bias
        head.infer()
        return head

    def attention(self, frames: int) -> Floats:
        """The weights of the alignment heads in the last step, with one row for each window.

        float32 (heads, length of the step, frames), for the first window.
        """
        weights = []
        for layer, heads in self._networks.alignment_heads.items():
            queries = self._slot.decoder.read(query_name(layer))[0]
            by_head = queries.reshape(len(queries), self._networks.heads, -1).swapaxes(0, 1)
            keys = self._slot.cross_attention[cross_attention_name(layer, "k")][0, heads, :frames]
            keys = from_bf16(keys) if keys.dtype == np.uint16 else keys
            weights.append(attention(by_head[heads], keys))
        return np.concatenate(weights)
